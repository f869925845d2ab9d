"""
Our Redis transport against Kombu's own, side by side.

    uv run python -m tests.benchmarks.transport [--help]

Each side has a server and workers of its own. Both are up at the same time and
take turns, so that whatever else the machine does slows both. Printed are the
medians and their ratio; on a busy machine only the ratios mean anything.

- throughput: tasks that do nothing, without results and events; processor time
  of the worker and of the server for one of them.
- latency: from sending a single message to an idle worker until its task runs.
- idle: processor time of many idle workers on one queue and of their server, and
  the latency of a single message to them.

With `--against TREE` the other side is our transport too, as in the sources of
another checkout.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from tests.support.lab import Marks, Redis, Worker, message, send, start, until
from tests.support.lab.worker import PROJECT

#: What Celery and Kombu have by default, of which the fault tests have less.
DEFAULTS: dict[str, Any] = {"visibility": 3600, "RESTORE": "10"}

#: Celery's arguments for a worker that has work, and for one among many.
BUSY = {"prefork": ("--pool=prefork", "-c2"), "gevent": ("--pool=gevent", "-c512")}
MANY = {"prefork": ("--pool=prefork", "-c1"), "gevent": ("--pool=gevent", "-c4")}

#: Messages that are not counted: a worker's first ones.
WARM_UP = 10

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Return the seconds of processor time of a process and its children."""
    seconds = 0.0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in [str(pid), *children]:
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / TICK
    return seconds


@dataclass
class Side:
    """
    One of the two that are compared.

    Attributes:
        transport: "kombu" or "atomic".

        environ: Variables of its workers.

        product: Whether they are started by `task-server worker`, and not by `celery`.

        found: The measured values, by what they are.
    """

    name: str
    transport: str
    broker: Redis
    environ: Mapping[str, str]
    product: bool = False
    found: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The tasks write the time into it; a file would have to be polled.
        self.marks = self.broker.folder / "runs"
        os.mkfifo(self.marks)
        self._runs = os.open(self.marks, os.O_RDWR)

    def worker(self, arguments: Sequence[str], mark: str, number: int) -> Worker:
        """Start one."""
        return start(
            *(self.transport, arguments[0].removeprefix("--pool="), self.broker),
            Marks(self.marks.parent, self.marks.name),
            arguments=() if self.product else arguments,
            MARK=mark,
            NUMBER=str(number),
            **DEFAULTS,
            **self.environ,
        )

    def note(self, what: str, value: float) -> None:
        """Keep a measured value."""
        self.found.setdefault(what, []).append(value)

    def server_cpu(self) -> float:
        """Return the processor time of the server."""
        assert self.broker.process is not None
        return cpu(self.broker.process.pid)

    def run_one(self) -> float:
        """Send a single message; return the seconds until its task ran."""
        sent = time.time()
        send(self.broker, [0])
        lines = os.read(self._runs, 100).splitlines()
        assert 1 == len(lines), f"not one run: {lines}"
        return float(lines[0]) - sent


Sides = Sequence[Side]
Group = list[Worker]


@contextmanager
def workers(sides: Sides, arguments: Sequence[str], mark: str, count: int) -> Iterator[list[Group]]:
    """Run *count* workers of each side, with an empty server."""
    groups: list[Group] = [[] for _ in sides]
    try:
        for number in range(count):
            for side, group in zip(sides, groups, strict=True):
                if not number:
                    side.broker.client.flushall()
                group.append(side.worker(arguments, mark, number))
            if number % 4 == 3:
                # A machine of two processors takes no more at a time.
                _all_ready(groups, 4)
        _all_ready(groups, count)
        yield groups
    finally:
        for group in groups:
            for worker in group:
                worker.close()


def _all_ready(groups: Iterable[Group], last: int) -> None:
    for group in groups:
        for worker in group[-last:]:
            if not worker.is_ready():
                worker.ready(180)


def turns(sides: Sides, count: int) -> Iterator[list[int]]:
    """Yield the order of the sides *count* times: A B, B A, A B and so on."""
    order = list(range(len(sides)))
    for number in range(count):
        yield order[::-1] if number % 2 else order


def add(broker: Redis, tasks: int, *, marked: bool) -> None:
    """Queue *tasks* messages at once."""
    if not marked:
        send(broker, range(tasks))
        return
    texts = [message(number).removesuffix(b"}") + b', "deaths": []}' for number in range(tasks)]
    broker.client.lpush("celery", *texts)


def throughput(sides: Sides, pool: str, tasks: int, rounds: int, *, marked: bool) -> None:
    """Measure tasks a second, and processor time a task."""
    with workers(sides, BUSY[pool], "no", 1) as groups:
        for number, order in enumerate(turns(sides, rounds + 1)):
            for index in order:
                side, pid = sides[index], groups[index][0].process.pid
                begun, server = cpu(pid), side.server_cpu()
                # Added at once, so that the producer does not compete for the processor.
                add(side.broker, tasks, marked=marked)
                start = time.monotonic()
                until(lambda side=side: side.broker.waiting() == 0, "all tasks", 300)  # type: ignore[misc]
                if number:
                    side.note("tasks/s", tasks / (time.monotonic() - start))
                    side.note("us CPU a task, worker", (cpu(pid) - begun) / tasks * 1e6)
                    side.note("us CPU a task, server", (side.server_cpu() - server) / tasks * 1e6)


def latency(sides: Sides, messages: int) -> None:
    """Measure the latency of single messages, sent to the sides in turn."""
    pause = Event()
    for number, order in enumerate(turns(sides, messages + WARM_UP)):
        for index in order:
            # Until what the last message leaves to be done is done.
            pause.wait(0.03)
            found = sides[index].run_one()
            if number >= WARM_UP:
                sides[index].note("ms", found * 1000)


def idle(sides: Sides, groups: Sequence[Group], rounds: int, seconds: float) -> None:
    """Measure the processor time of workers that have nothing to do, and of their servers."""
    pause = Event()
    pause.wait(5)
    for _ in range(rounds):
        before = [_used(side, group) for side, group in zip(sides, groups, strict=True)]
        pause.wait(seconds)
        for side, group, (own, server) in zip(sides, groups, before, strict=True):
            after = _used(side, group)
            side.note("ms CPU a second, each worker", (after[0] - own) / len(group) / seconds * 1e3)
            side.note("ms CPU a second, server", (after[1] - server) / seconds * 1e3)


def _used(side: Side, group: Group) -> tuple[float, float]:
    return sum(cpu(worker.process.pid) for worker in group), side.server_cpu()


def show(title: str, sides: Sides) -> None:
    """Print what was measured, and forget it."""
    for what in sides[0].found:
        parts: list[tuple[str, Callable[[list[float]], float]]] = [("", statistics.median)]
        if what == "ms":
            parts = [
                ("p50", statistics.median),
                ("p95", lambda x: statistics.quantiles(x, n=20)[-1]),
            ]
        for part, summary in parts:
            first, second = (summary(side.found[what]) for side in sides)
            label = f"{title}: {' '.join(filter(None, (part, what)))}"
            ratio = second / first if first else float("nan")
            print(
                f"{label:62} {first:9.2f} -> {second:9.2f}   x {ratio:.2f}   "
                f"({len(sides[0].found[what])} each)",
                flush=True,
            )
    for side in sides:
        side.found.clear()


def options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0] if __doc__ else "")
    kinds = ["throughput", "latency", "idle"]
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--pools", nargs="+", choices=list(BUSY), default=list(BUSY))
    parser.add_argument("--rounds", type=int, default=7, help="of throughput and idle")
    parser.add_argument("--tasks", type=int, default=3000, help="in a round of throughput")
    parser.add_argument("--messages", type=int, default=300, help="of latency, to each side")
    parser.add_argument("--workers", type=int, default=50, help="idle ones of each side")
    parser.add_argument("--seconds", type=float, default=10, help="of a round of idle")
    parser.add_argument("--product", action="store_true", help="start `task-server worker`")
    parser.add_argument(
        "--marked", action="store_true", help="throughput of messages that a dead worker left"
    )
    parser.add_argument(
        "--against", type=Path, help="a checkout to compare with, not Kombu's transport"
    )
    return parser.parse_args()


def two_sides(folder: Path, against: Path | None, *, product: bool) -> list[Side]:
    """Return Kombu's transport, or *against*, and ours."""
    others: dict[str, str] = {}
    if against is not None:
        # What is there is found before what belongs to this checkout.
        others["PYTHONPATH"] = os.pathsep.join([str(against.resolve() / "src"), str(PROJECT)])
    sides = []
    for name, transport, environ in (
        ("other" if against else "kombu", "atomic" if against else "kombu", others),
        ("atomic", "atomic", {}),
    ):
        place = folder / name
        place.mkdir()
        sides.append(Side(name, transport, Redis(place), environ, product))
    return sides


def main() -> None:
    """Print a line for each comparison: Kombu's, ours, and the ratio."""
    chosen = options()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as servers:
        sides = two_sides(Path(folder), chosen.against, product=chosen.product)
        for side in sides:
            servers.callback(side.broker.kill)
            side.broker.start()
        print(f"{' -> '.join(side.name for side in sides)}; load {os.getloadavg()[0]:.1f}")
        for pool in chosen.pools:
            if "throughput" in chosen.only:
                throughput(sides, pool, chosen.tasks, chosen.rounds, marked=chosen.marked)
                show(pool, sides)
            if "latency" in chosen.only:
                with workers(sides, BUSY[pool], "time", 1):
                    latency(sides, chosen.messages)
                    show(f"{pool}, one message", sides)
            if "idle" in chosen.only:
                with workers(sides, MANY[pool], "time", chosen.workers) as groups:
                    idle(sides, groups, chosen.rounds, chosen.seconds)
                    latency(sides, chosen.messages)
                    show(f"{pool}, {chosen.workers} idle", sides)
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
