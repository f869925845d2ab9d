"""
A fleet on one queue: our workers of both pools beside a stock one, two kinds of producers.

Each line of the runs says which start of which worker it was, in which process, and
by which delivery; so that what ran twice can be laid at somebody's door.
"""

import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from tests.support.lab.worker import SOURCES
from tests.support.marks import Marks
from tests.support.redis import Redis
from tests.support.wait import PATIENCE, holds_within, until
from tests.support.worker import POOLS, PROJECT, Worker

#: Tasks are sent when fewer are queued.
LOW = 150

#: Who runs tasks.
KINDS = (*POOLS, "stock")

#: Name and password of the stock worker's user.
STOCK = "stock"

#: A file of settings for Redis that knows the user.
SETTINGS = f"user {STOCK} on >{STOCK} ~* &* +@all\n"

#: Tasks at once.
PLACES = {"prefork": 2, "gevent": 20}


class Sender:
    """
    A process that sends, see `project/mixed_sender.py`.

    Attributes:
        sent: The numbers of the tasks whose send was reported as done.

        unsure: Those whose send raised an error.

        headers: The header of each chord, by the number of its body.
    """

    def __init__(self, first: int, environ: Mapping[str, str], errors: IO[bytes]) -> None:
        self.sent: set[int] = set()
        self.unsure: set[int] = set()
        self.headers: dict[int, list[int]] = {}
        self.wrong: list[str] = []
        self._ended: queue.Queue[bool] = queue.Queue()
        self._busy = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mixed_sender", str(first)],
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, *rest = line.split()
            if word in {"sent", "unsure"}:
                {"sent": self.sent, "unsure": self.unsure}[word].add(int(rest[0]))
            elif word == "chord":
                body, *header = map(int, rest)
                self.headers[body] = header
            elif word == "wrong":
                self.wrong.append(line.strip())
            else:
                self._ended.put(True)
        self._ended.put(False)

    def begin(self, word: str) -> None:
        """Have it do *word*, when it has ended what it does."""
        self.end()
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        self._busy = True

    def end(self) -> None:
        """Wait until it has ended what it does."""
        if self._busy:
            assert self._ended.get(timeout=10 * PATIENCE), "a sender has ended"
            self._busy = False

    def is_idle(self) -> bool:
        """Whether it has ended what it did."""
        return not self._busy or not self._ended.empty()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(30)
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()


@dataclass
class Member:
    """
    One of our workers, which is started again and again.

    Attributes:
        killed: The starts of it that were killed, and the processes of its pool that were.
    """

    pool: str
    fleet: "Fleet"
    worker: Worker | None = None
    starts: int = 0
    killed: set[str] = field(default_factory=set)

    @property
    def who(self) -> str:
        """What this start of it is called in the marks."""
        return f"{self.pool}-{self.starts}"

    def start(self) -> Worker:
        """Start it, again if need be."""
        if self.worker is not None:
            self.worker.close()
        self.starts += 1
        self.worker = self.fleet.worker(self.pool, self.who)
        return self.worker

    def kill(self, victim: str, chance: random.Random) -> None:
        """Kill the group, its main process, or a child; start it again if it needs that."""
        assert self.worker is not None
        if victim == "child":
            # Of a pool that was killed a moment ago there may be none for a while.
            worker = self.worker
            if holds_within(worker.children, 10):
                with suppress(ProcessLookupError, IndexError):
                    pid = chance.choice(worker.children())
                    self.killed.add(str(pid))
                    os.kill(pid, signal.SIGKILL)
            return
        self.killed.add(self.who)
        if victim == "main":
            self.worker.kill_main()
        else:
            self.worker.kill()
        self.start().ready()


@dataclass
class Fleet:
    """
    The workers and producers of one queue.

    Args:
        switches: Settings of ours that differ from the default; `producer` among them.

        visibility: Of the stock worker, in seconds.

    Attributes:
        stock_ends: How often the stock worker was ended, or had ended. Each time it may lose
            one message, which Kombu's transport had taken and not registered.
    """

    broker: Redis
    database: str
    switches: Mapping[str, Any]
    visibility: float
    marks: Marks = field(init=False)
    members: list[Member] = field(init=False)
    senders: list[Sender] = field(default_factory=list)
    stock: Worker | None = None
    stock_ends: int = 0

    def __post_init__(self) -> None:
        self.marks = Marks(self.broker.folder, "mixed.log")
        self.members = [Member(pool, self) for pool in POOLS]

    def environ(self, who: str, **more: str) -> dict[str, str]:
        """Return the variables of a process called *who*."""
        on = self.switches.get("producer", True)
        return {
            "PYTHONPATH": os.pathsep.join([str(SOURCES), str(PROJECT)]),
            "BROKER": self.broker.url,
            "DATABASE_URL": self.database,
            "MIXED_WHO": who,
            "TASK_SERVER_PRODUCER": str(on).lower(),
            **more,
        }

    def worker(self, pool: str, who: str) -> Worker:
        """Start a worker of ours."""
        own = {name: value for name, value in self.switches.items() if name != "producer"}
        if pool != "gevent":
            own.pop("resolver_threads", None)
        return Worker(
            *(self.broker.folder, self.broker, pool),
            name=f"mixed-{pool}",
            marks=self.marks,
            app="mixed",
            environ=self.environ(who),
            concurrency=PLACES[pool],
            log_level="info",
            drain_seconds=None,
            # What is killed this often would become a dead letter by chance.
            poison_limit=0,
            **{"delay_seconds": 0.5, **own},
        )

    def start_stock(self) -> Worker:
        """Start Celery's own command line."""
        command = (
            *(sys.executable, "-m", "celery", "--app=mixed", "worker", "--pool=prefork", "-c2"),
            *("--hostname=stock@%h", "--loglevel=info"),
        )
        self.stock = Worker(
            *(self.broker.folder, None, ""),
            name="stock",
            marks=self.marks,
            command=command,
            environ=self.environ(
                "stock-1",
                MIXED_VISIBILITY=str(self.visibility),
                # Its connections can then be told from ours.
                BROKER=self.broker.url.replace("//", f"//{STOCK}:{STOCK}@"),
            ),
        )
        return self.stock

    @contextmanager
    def stock_paused(self) -> Iterator[None]:
        """
        Have the stock worker fetch nothing: what it has just fetched, a fault would lose.

        That is Kombu's transport, which takes a message and registers it in two steps. It goes
        on running what it has, and fetches again afterwards.
        """
        if not self._stock_does("cancel_consumer"):
            # It may hang since the last fault: what it had is its own to lose.
            self._end_stock()
            self.start_stock().ready()
            assert self._stock_does("cancel_consumer")
        until(lambda: not self._stock_waits(), "the stock worker to fetch nothing")
        yield
        self._stock_does("add_consumer")

    def _stock_does(self, command: str) -> bool:
        """Have the stock worker do a remote command; return whether it did."""
        node = [f"stock@{socket.gethostname()}"]

        def told() -> bool:
            with (
                Celery("control", broker=self.broker.url, set_as_current=False) as app,
                suppress(RedisError, OperationalError),
            ):
                return bool(getattr(app.control, command)("celery", destination=node, reply=True))
            return False

        return holds_within(told, 30)

    def _stock_waits(self) -> bool:
        """Whether a BRPOP of the stock worker is pending."""
        clients: Any = self.broker.client.client_list()
        return any(
            one["user"] == STOCK and one["cmd"] == "brpop" and "b" in one["flags"]
            for one in clients
        )

    def start_senders(self, errors: IO[bytes]) -> None:
        """Start a producer of ours and a stock one."""
        for number, kind in enumerate(("ours", "stock")):
            environ = self.environ("sender", MIXED_PRODUCER=kind)
            self.senders.append(Sender(1 + number * 10_000_000, environ, errors))

    def send(self) -> None:
        """Have each producer that is idle send a batch."""
        for sender in self.senders:
            if sender.is_idle():
                sender.begin("batch")

    @contextmanager
    def fed(self) -> Iterator[None]:
        """Keep the queue from running empty, while this lasts."""
        ended = threading.Event()

        def feed() -> None:
            while not ended.wait(0.1):
                with suppress(RedisError):
                    if self.broker.queued() < LOW:
                        self.send()

        thread = threading.Thread(target=feed, daemon=True)
        thread.start()
        try:
            # Each has its part, however late it comes.
            self.resumes(*KINDS)
            yield
        finally:
            ended.set()
            thread.join(60)

    def finish(self, seconds: float) -> None:
        """Wait until all is run, and every result is read."""
        for sender in self.senders:
            sender.end()
        until(self._is_over, f"all to be run; {self.left()}", seconds)
        for sender in self.senders:
            sender.begin("results")
        for sender in self.senders:
            sender.end()

    def _is_over(self) -> bool:
        """Whether all is run; a stock worker that has ended is started, for what it had."""
        if self.stock is not None and not self.stock.alive():
            # Kombu 5.6.2 ends with a KeyError when its connection was lost.
            self._end_stock()
            self.start_stock()
        return self.broker.is_empty()

    def _end_stock(self) -> None:
        assert self.stock is not None
        self.stock.close()
        self.stock_ends += 1

    def resumes(self, *kinds: str) -> None:
        """Wait until each worker of *kinds* has run more than now."""
        before = self.counts()
        until(
            lambda: all(self.counts()[who] > before[who] for who in kinds),
            f"a run of each worker; before: {before}",
            pause=0.3,
        )

    def counts(self) -> Counter[str]:
        """Return how many runs of each kind of worker have ended."""
        runs = [run for all_of in runs_in(self.marks.path).values() for run in all_of]
        return Counter(run.who.partition("-")[0] for run in runs if run.ended)

    def left(self) -> dict[str, int]:
        """Return how many messages are where."""
        broker = self.broker
        return {"queued": broker.queued(), "delayed": broker.delayed(), "unacked": broker.unacked()}

    def close(self) -> None:
        """Kill all."""
        for sender in self.senders:
            sender.close()
        for worker in (self.stock, *(member.worker for member in self.members)):
            if worker is not None:
                worker.close()

    def outcome(self) -> "Outcome":
        """Return what became of the tasks."""
        return Outcome(
            runs_in(self.marks.path),
            sent=set().union(*(sender.sent for sender in self.senders)),
            unsure=set().union(*(sender.unsure for sender in self.senders)),
            headers={body: one for sender in self.senders for body, one in sender.headers.items()},
            killed=set().union(*(member.killed for member in self.members)),
            wrong=[line for sender in self.senders for line in sender.wrong],
        )


@dataclass(frozen=True)
class Run:
    """One delivery of a task that started, and whether it ended."""

    who: str
    pid: str
    tag: str
    ended: bool


def runs_in(path: Path) -> dict[int, list[Run]]:
    """Return the runs of each task, in the order of their starts."""
    found: dict[int, dict[tuple[str, str, str], list[str]]] = defaultdict(dict)
    for line in path.read_text().splitlines():
        word, number, *key = line.split()
        who, pid, tag = (*key, "", "", "")[:3]
        found[int(number)].setdefault((who, pid, tag), []).append(word)
    return {
        number: [Run(*key, ended="done" in words) for key, words in runs.items()]
        for number, runs in found.items()
    }


@dataclass(frozen=True)
class Outcome:
    """What became of the tasks of a fleet."""

    runs: Mapping[int, Sequence[Run]]
    sent: set[int]
    unsure: set[int]
    headers: Mapping[int, Sequence[int]]
    killed: set[str]
    wrong: list[str]

    def lost(self) -> set[int]:
        """Return those that were sent and have not run to their end."""
        return {one for one in self.sent if not any(run.ended for run in self.runs.get(one, ()))}

    def twice(self) -> set[int]:
        """Return those that have run to their end more than once."""
        return {one for one, runs in self.runs.items() if sum(run.ended for run in runs) > 1}

    def was_killed(self, number: int) -> bool:
        """Whether a process was killed that had started it, or a part of its header."""
        parts = [number, *self.headers.get(number, ())]
        runs = [run for part in parts for run in self.runs.get(part, ())]
        return any(run.who in self.killed or run.pid in self.killed for run in runs)

    def was_stocks(self, number: int) -> bool:
        """Whether a stock worker had started it, or a part of its header."""
        parts = [number, *self.headers.get(number, ())]
        return any(run.who.startswith("stock") for part in parts for run in self.runs.get(part, ()))

    def redelivered(self) -> set[int]:
        """Return those of `twice` one message of which was run to its end more than once."""
        return {
            one
            for one in self.twice()
            if max(Counter(run.tag for run in self.runs[one] if run.ended).values()) > 1
        }

    def told(self, numbers: set[int]) -> str:
        """Return the runs of some of *numbers*, and of their headers, for who reads a failure."""
        some = [
            (one, part)
            for one in sorted(numbers)[:20]
            for part in (one, *self.headers.get(one, ()))
        ]
        return "\n".join(f"{one}: {part}: {self.runs.get(part)}" for one, part in some)


@contextmanager
def fleet_of(
    broker: Redis, database: str, *, visibility: float = 3600, **switches: Any
) -> Iterator[Fleet]:
    """Start a fleet; it is killed in the end."""
    fleet = Fleet(broker, database, switches, visibility)
    with ExitStack() as stack:
        stack.callback(fleet.close)
        errors = stack.enter_context((broker.folder / "senders.log").open("wb"))
        workers = [fleet.start_stock(), *(member.start() for member in fleet.members)]
        fleet.start_senders(errors)
        for worker in workers:
            worker.ready()
        yield fleet
