"""Rows of a queue that is full at once: how fast a worker that idles runs it all."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.benchmarks import usage
from tests.benchmarks.crew import Crew
from tests.benchmarks.messages import key_of, messages, put
from tests.benchmarks.ping import Pings
from tests.support.wait import until

#: Messages are made here, and appear in their queue all at once.
_STAGE = "bench.stage"


@dataclass(frozen=True, kw_only=True)
class Drain:
    """
    Measures *task*(number, *arguments).

    Attributes:
        ping: Whether a PING is sent beside, and its longest wait measured.
    """

    task: str
    arguments: tuple[Any, ...] = ()
    serializer: str = "json"
    ping: bool = False

    def __call__(self, crew: Crew, count: int) -> dict[str, float]:
        """Run *count* tasks."""
        broker = crew.broker
        crew.ledger.forget(count)
        texts = messages(
            *(broker, self.task, range(count), self.arguments), serializer=self.serializer
        )
        put(broker, _STAGE, texts)
        with measured(crew, count) as values, ExitStack() as beside:
            pings = beside.enter_context(Pings(broker)) if self.ping else None
            start = time.monotonic()
            broker.client.rename(_STAGE, key_of("celery", 0))
            crew.finish(count)
        seconds = crew.ledger.ended(count) - start
        values |= {"rate": count / seconds, "seconds": seconds, "memory": crew.pss() / 2**20}
        if pings is not None:
            values["ping"] = pings.longest * 1e3
        again = crew.ledger.more_than_once(count)
        assert not again, f"{crew.side.name} ran {len(again)} tasks several times"
        return values


@contextmanager
def measured(crew: Crew, count: int) -> Iterator[dict[str, float]]:
    """Measure the processor time of the workers and of Redis, until all is acknowledged."""
    process = crew.broker.server.process
    assert process is not None
    workers, redis = crew.cpu(), usage.cpu_of(process.pid)
    values: dict[str, float] = {}
    yield values
    until(lambda: not crew.broker.unacked(), "acknowledgements", pause=0.01)
    values["worker"] = (crew.cpu() - workers) / count * 1e6
    values["redis"] = (usage.cpu_of(process.pid) - redis) / count * 1e6
