"""Rows of a worker that has little to do: its start, its idling, a single message."""

import statistics
import time
from threading import Event

from tests.benchmarks import usage
from tests.benchmarks.crew import Crew
from tests.benchmarks.loading import lists
from tests.benchmarks.messages import messages
from tests.support.wait import until

#: After the last task, or the start, until nothing is left to be done; in seconds.
SETTLES = 3.0


def latency(crew: Crew, count: int) -> dict[str, float]:
    """Measure from sending a single message until its task has run, *count* times."""
    found = []
    pause = Event()
    for _ in range(count):
        crew.ledger.forget(1)
        release = lists(crew.broker, {"celery": messages(crew.broker, "plain.noop", [0])})
        # Until what the last message leaves to be done is done.
        pause.wait(0.03)
        start = time.monotonic()
        release()
        crew.finish(1)
        found.append((crew.ledger.ended(1) - start) * 1e3)
        until(lambda: not crew.broker.unacked(), "the acknowledgement", pause=0.005)
    return {"latency": statistics.median(found)}


def start(crew: Crew, _count: int) -> dict[str, float]:
    """Measure from exec until a task that waits has run; its worker is ended then."""
    crew.ledger.forget(1)
    lists(crew.broker, {"celery": messages(crew.broker, "plain.noop", [0])})()
    begun = time.monotonic()
    crew.start()
    try:
        crew.finish(1)
        ended = crew.ledger.ended(1)
        until(lambda: not crew.broker.unacked(), "the acknowledgement", pause=0.01)
        return {"seconds": ended - begun, "spent": crew.cpu(), "memory": crew.pss() / 2**20}
    finally:
        crew.stop_workers()


def idle(crew: Crew, seconds: int) -> dict[str, float]:
    """Measure the processor time of workers that have nothing to do for *seconds*."""
    process = crew.broker.server.process
    assert process is not None
    Event().wait(min(SETTLES, seconds))
    workers, redis = crew.cpu(), usage.cpu_of(process.pid)
    Event().wait(seconds)
    return {
        "idle": (crew.cpu() - workers) / crew.setup.workers / seconds * 1e3,
        "idle_redis": (usage.cpu_of(process.pid) - redis) / seconds * 1e3,
        "memory": crew.pss() / 2**20 / crew.setup.workers,
    }
