"""Rows of a queue that is full at once: how fast a worker that idles runs it all."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from tests.benchmarks import usage
from tests.benchmarks.crew import Crew
from tests.benchmarks.loading import Release, lists, sent
from tests.benchmarks.messages import key_of, messages
from tests.benchmarks.ping import pings
from tests.benchmarks.project.ledger import NOBODY
from tests.support.wait import until


@dataclass(frozen=True, kw_only=True)
class Drain:
    """
    Measures *task*(number, *arguments).

    Attributes:
        ping: Whether a PING is sent beside, and its longest wait measured.

        waiting: So many messages more stand behind those that are counted.

        priorities: The messages have these in turn.

        redelivered: They are as a worker that died has left them.

        ideal: Seconds that nobody can be faster than; the share of it is measured, too.
    """

    task: str
    arguments: tuple[Any, ...] = ()
    serializer: str = "json"
    ping: bool = False
    waiting: int = 0
    priorities: tuple[int, ...] = (0,)
    redelivered: bool = False
    ideal: float = 0.0

    def __call__(self, crew: Crew, count: int) -> dict[str, float]:
        """Run *count* tasks."""
        crew.ledger.forget(count)
        release = self._loaded(crew, count)
        with measured(crew, count) as values, ExitStack() as beside:
            waits = beside.enter_context(pings(crew.broker)) if self.ping else None
            start = time.monotonic()
            release()
            crew.finish(count)
            if self.waiting:
                crew.broker.client.unlink(*map(key_of, crew.setup.queues, self.priorities))
        seconds = crew.ledger.ended(count) - start
        values |= {"rate": count / seconds, "seconds": seconds, "memory": crew.pss() / 2**20}
        if waits is not None:
            values["ping"] = waits.longest * 1e3
        if self.ideal:
            values["share"] = self.ideal / seconds * 100
        again = crew.ledger.more_than_once(count)
        assert not again, f"{crew.side.name} ran {len(again)} tasks several times"
        return values

    def _loaded(self, crew: Crew, count: int) -> Release:
        if crew.side.own_store:
            return sent(crew, self.task.rpartition(".")[2], count)
        places = [(queue, each) for queue in crew.setup.queues for each in self.priorities]
        texts = {
            key_of(queue, priority): chain(
                self._texts(crew, range(number, count, len(places)), queue, priority),
                # Fewer in a trial.
                self._behind(crew, queue, min(self.waiting, count * 1000)),
            )
            for number, (queue, priority) in enumerate(places)
            if number < count
        }
        return lists(crew.broker, texts)

    def _texts(
        self, crew: Crew, numbers: Iterable[int], queue: str, priority: int = 0
    ) -> Iterator[bytes]:
        texts = messages(
            *(crew.broker, self.task, numbers, self.arguments),
            serializer=self.serializer,
            queue=queue,
            priority=priority,
        )
        for text in texts:
            yield text.removesuffix(b"}") + b', "deaths": []}' if self.redelivered else text

    def _behind(self, crew: Crew, queue: str, count: int) -> Iterator[bytes]:
        """Yield the same message again and again: most of them nobody will run."""
        (text,) = self._texts(crew, [NOBODY], queue)
        return repeat(text, count)


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
