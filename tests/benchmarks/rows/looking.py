"""A row of somebody who looks: `task-server status` in front of a great deal."""

import json
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

from tests.benchmarks.crew import Crew
from tests.benchmarks.messages import key_of, messages, put
from tests.benchmarks.project.ledger import NOBODY

PRIORITIES = (0, 3, 6, 9)

#: Microseconds from which on a call of Redis counts as a long one.
LONG = 500

#: Fields that one command adds.
PORTION = 1000


@dataclass(frozen=True)
class Status:
    """
    Measures the command line, from its start to its end.

    With *count* messages that wait in all queues and priorities, and *in_flight* of four workers.
    """

    in_flight: int

    def __call__(self, crew: Crew, count: int) -> dict[str, float]:
        """Look once; all is gone in the end."""
        client = crew.broker.client
        places = [(queue, each) for queue in crew.setup.queues for each in PRIORITIES]
        try:
            for queue, priority in places:
                (text,) = messages(
                    crew.broker, "plain.noop", [NOBODY], queue=queue, priority=priority
                )
                put(crew.broker, key_of(queue, priority), repeat(text, count // len(places)))
            self._take(crew, min(self.in_flight, count))
            client.config_set("slowlog-log-slower-than", LONG)
            client.slowlog_reset()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = (sys.executable, "-m", "task_server", "status", "--app", crew.setup.project)
            # 1: nobody takes from the queues.
            seconds = crew.run(*command, ends_with=1)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            calls = [one["duration"] for one in client.slowlog_get(128)]
            return {
                "seconds": seconds,
                "command": after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime,
                "call": max(calls, default=0) / 1e3,
            }
        finally:
            client.flushdb()

    def _take(self, crew: Crew, count: int) -> None:
        """Put *count* messages where workers have them."""
        client = crew.broker.client
        (now, _) = client.time()
        entries = dict(_entries(crew, count, now))
        tags = list(entries)
        for first in range(0, count, PORTION):
            some = tags[first : first + PORTION]
            client.hset("unacked", mapping={tag: entries[tag] for tag in some})
            client.zadd("unacked_index", dict.fromkeys(some, now))


def _entries(crew: Crew, count: int, now: int) -> Iterator[tuple[str, str]]:
    """Yield the entries of *count* messages, by delivery tag, as the fetch writes them."""
    queue = crew.setup.queues[0]
    for number, text in enumerate(
        messages(crew.broker, "plain.noop", repeat(NOBODY, count), queue=queue)
    ):
        holder = {"node": f"w{number % 4}@h", "pid": 7, "taken": now, "run": f"r{number % 4}"}
        held = {**json.loads(text), "taken_from": queue, "holder": {**holder, "lease": 30}}
        yield held["properties"]["delivery_tag"], json.dumps([held, "", queue])
