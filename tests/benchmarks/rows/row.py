"""What is measured: a row of the report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.benchmarks.crew import Crew
from tests.benchmarks.sides import Setup

#: What is measured of one round, by its name; see METRICS.
Values = Mapping[str, float]


@dataclass(frozen=True)
class Metric:
    """A measured value: its name in the report, and whether more of it is better."""

    title: str
    more_is_better: bool = False
    digits: int = 1


METRICS = {
    "rate": Metric("tasks/s", more_is_better=True, digits=0),
    "seconds": Metric("s", digits=2),
    "worker": Metric("µs CPU a task, worker", digits=0),
    "redis": Metric("µs CPU a task, Redis", digits=0),
    "sender": Metric("µs CPU a task, sender", digits=0),
    "memory": Metric("MiB PSS"),
    "command": Metric("s CPU, command", digits=2),
    "call": Metric("ms, longest call of Redis"),
    "ping": Metric("ms, longest PING"),
    "latency": Metric("ms", digits=2),
    "share": Metric("% of the ideal", more_is_better=True),
    "drain": Metric("s to drain", digits=2),
    "again": Metric("s to start again", digits=2),
    "spent": Metric("s CPU, workers", digits=2),
    "idle": Metric("ms CPU a second, each worker", digits=2),
    "idle_redis": Metric("ms CPU a second, Redis", digits=2),
    "times": Metric("x the CPU of a bare Python"),
    "check": Metric("ms CPU a check"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """
    One row.

    Attributes:
        kind: What a side must be able to do for it; see Side.kinds.

        measure: Does *count* of it with one side, and returns what was measured.

        main: The metric that is compared.

        count, quick: How many tasks a round has, and has in a trial of a minute.

        rounds: At most so many, where one takes long.

        warm: Whether a round that is not counted comes first.

        sides: The only sides that it is for; unset, all.

        groups: Names of what it belongs to, for `--only`.
    """

    name: str
    title: str
    setup: Setup
    measure: Callable[[Crew, int], Values]
    kind: str = "celery"
    main: str = "rate"
    count: int = 1000
    quick: int = 4
    rounds: int = 99
    warm: bool = True
    sides: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
