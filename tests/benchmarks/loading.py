"""Filling a queue without a worker noticing, until all messages appear at once."""

from collections.abc import Callable, Iterable, Mapping

from tests.benchmarks.crew import Crew
from tests.benchmarks.messages import put
from tests.support.redis import Broker

Release = Callable[[], None]

#: Messages of Celery are made here.
_STAGE = "bench.stage."

#: Databases this far above those of the sides are their stages.
STAGES = 16


def lists(broker: Broker, texts: Mapping[str, Iterable[bytes]]) -> Release:
    """Put messages aside, by the list that they are for; return what moves them there."""
    keys = list(texts)
    for key in keys:
        put(broker, _STAGE + key, texts[key])

    def release() -> None:
        with broker.client.pipeline(transaction=True) as pipeline:
            for key in keys:
                pipeline.rename(_STAGE + key, key)
            pipeline.execute()

    return release


def sent(crew: Crew, task: str, count: int) -> Release:
    """
    Have *task* sent to another database, in whatever way the side keeps messages.

    Returns:
        What copies them to the database of the workers: what they refer to first,
        the queues last.
    """
    broker = crew.broker
    stage = broker.server.database(broker.number + STAGES)
    stage.client.flushdb()
    crew.stage(stage, "send", task, count)
    queues, others = [], []
    for key in stage.client.scan_iter(count=1000):
        kind = stage.client.type(key)
        (queues if kind in {b"list", b"zset", b"stream"} else others).append(key)

    def release() -> None:
        with stage.client.pipeline(transaction=True) as pipeline:
            for key in [*others, *queues]:
                pipeline.copy(key, key, destination_db=broker.number, replace=True)
            pipeline.execute()

    return release
