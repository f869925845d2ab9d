"""A worker that is stopped ends with 0, at any moment, also as PID 1 of a container."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from task_server.health.process import is_running
from tests.support import proc
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import EITHER, POOLS, Worker

MOMENTS = Path(__file__).parent / "moments"

#: A namespace of processes of its own; when `unshare` dies, so does all that is in it.
CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")

#: What a process imports, or does, at a moment: in the launcher, between it and the
#: worker, before Celery, while Celery is imported, and while the project is.
STARTING = ("click", "exec", "celery", "celery.bin.worker", "proj")


@pytest.fixture(params=["process", pytest.param("pid 1", marks=pytest.mark.slow)])
def under(request: pytest.FixtureRequest, require: Any) -> tuple[str, ...]:
    """How the worker runs: as any process, or as the first of a container."""
    if request.param == "process":
        return ()
    tried = subprocess.run([*CONTAINER, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        require("namespaces", f"unshare: {tried.stderr.strip()}")
    return CONTAINER


class Moment:
    """A moment of the start of a worker, at which it waits."""

    def __init__(self, folder: Path, name: str) -> None:
        self._reached = folder / "reached"
        self._over = folder / "over"
        os.mkfifo(self._over)
        self.environ = {
            "PYTHONPATH": str(MOMENTS),
            "MOMENT": name,
            "MOMENT_REACHED": str(self._reached),
            "MOMENT_OVER": str(self._over),
        }

    def wait(self) -> None:
        until(self._reached.exists)

    def end(self) -> None:
        # For reading too, so that it waits for no reader. The process opens it now or later.
        os.open(self._over, os.O_RDWR)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        *((moment, signal.SIGTERM) for moment in STARTING),
        *((moment, signal.SIGINT) for moment in ("click", "exec", "proj")),
        *((moment, signal.SIGQUIT) for moment in ("click", "exec", "proj")),
    ],
)
@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_starts_ends_at_once(
    *,
    pool: str,
    moment: str,
    number: int,
    under: tuple[str, ...],
    folder: Path,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    No signal is lost, none is reported as a crash, and no task is taken.
    """
    send("work", 1)
    at = Moment(folder, moment)
    worker = start(pool, under=under, environ=at.environ)
    at.wait()

    worker.send(number)
    # Before it becomes the worker, the signal is blocked.
    at.end()
    code = worker.wait()

    assert 0 == code, worker.output()
    assert (1, 0) == (broker.queued(), broker.unacked())
    assert "ready." not in worker.output()
    assert f"{signal.Signals(number).name} before any task was taken" in worker.output()
    assert worker.heartbeat() is None


@pytest.mark.parametrize("pool", EITHER)
def test_a_worker_without_redis_ends_at_once(
    pool: str, under: tuple[str, ...], broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    While it connects to Redis there is nothing to drain.
    """
    broker.stop()
    worker = start(pool, under=under, drain_seconds=300)
    until(lambda: (beat := worker.heartbeat()) and beat.connecting_since)

    worker.send(signal.SIGTERM)
    began = time.monotonic()
    code = worker.wait()

    assert 0 == code, worker.output()
    assert time.monotonic() - began < 60
    assert worker.heartbeat() is None


@pytest.mark.parametrize("pool", EITHER)
def test_a_worker_whose_redis_hangs_at_its_start_ends_at_once(
    pool: str, under: tuple[str, ...], broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    A Redis that accepts and never answers does not keep a worker that has taken nothing.
    """
    broker.signal(signal.SIGSTOP)
    worker = start(pool, under=under, drain_seconds=300)
    until(lambda: (beat := worker.heartbeat()) and beat.connecting_since)

    worker.send(signal.SIGTERM)
    began = time.monotonic()
    code = worker.wait()
    broker.signal(signal.SIGCONT)

    assert 0 == code, worker.output()
    assert time.monotonic() - began < 60


def test_a_worker_that_forks_ends_and_leaves_no_child(
    under: tuple[str, ...],
    folder: Path,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    The signal comes between the first child of the pool and the last.
    """
    send("work", 1)
    worker = start("prefork", under=under, concurrency=8, environ={"PROJ_FORKING": "3"})
    until(lambda: "forking" in worker.log.read_text())
    children = proc.children(worker.pid)

    worker.send(signal.SIGTERM)
    code = worker.wait()

    assert 0 == code, worker.output()
    assert (1, 0) == (broker.queued(), broker.unacked()), worker.output()
    assert 2 <= len(children)
    until(lambda: not any(is_running(pid, None) for pid in children))


@pytest.mark.parametrize("under", ["process", "pid 1"], indirect=True)
@pytest.mark.parametrize("pool", POOLS)
def test_a_ready_worker_drains(
    pool: str,
    under: tuple[str, ...],
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    What runs ends, the rest is back in the queue, and the exit code is 0.
    """
    worker = start(pool, under=under)
    worker.hear("READY=1")
    for number in range(5):
        send("work", number, 1.5)
    until(lambda: len(worker.starts()) == 2)

    worker.send(signal.SIGTERM)
    code = worker.wait()

    assert 0 == code, worker.output()
    assert worker.starts() == worker.ends()
    assert (5 - len(worker.ends()), 0) == (broker.queued(), broker.unacked()), worker.output()


@pytest.mark.parametrize("pool", EITHER)
def test_the_end_is_not_put_off_by_what_hangs(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    One deadline counts from the first signal: the drain and the finish, with a Redis that hangs.
    """
    worker = start(pool, drain_seconds=6, concurrency=4, timing={"finish": 4})
    worker.hear("READY=1")
    for number in range(20):
        send("work", number, 1)
    until(lambda: len(worker.starts()) >= 4)
    broker.signal(signal.SIGSTOP)
    # One that has ended waits for the answer to its acknowledgement.
    worker.is_silent("never", 1.0)

    worker.send(signal.SIGTERM)
    began = time.monotonic()
    code = worker.wait()
    took = time.monotonic() - began
    broker.signal(signal.SIGCONT)

    assert 0 == code, worker.output()
    assert took < 6 + 4 + 20, worker.output()


#: With SIGHUP it starts again, under the same process id.
STORM = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(n, marks=pytest.mark.nightly) for n in range(4, 60))]
)
@pytest.mark.parametrize("pool", POOLS)
def test_a_storm_of_signals_ends_a_worker_with_0(
    pool: str,
    seed: int,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    In any order and at any moment, with tasks that run: none of them is lost.
    """
    chance = random.Random(seed)
    for number in range(6):
        send("work", number, chance.choice([0.0, 0.5, 300.0]))
    worker = start(pool, environ={"MOMENT": ""})
    if seed % 2:
        worker.hear("READY=1")
    else:
        worker.is_silent("never", chance.uniform(0.1, 3.0))
    for _ in range(60):
        if worker.process.poll() is not None:
            break
        worker.send(chance.choice(STORM))
        worker.is_silent("never", chance.choice([0.0, 0.0, 0.001, 0.03, 0.2]))
    else:
        worker.send(signal.SIGTERM)
    code = worker.wait()

    assert 0 == code, worker.output()
    assert 6 == len(worker.ends()) + broker.queued() + broker.unacked(), worker.output()


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_sighup_restarts_the_worker(
    pool: str,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    Its process id and its arguments stay; what runs may end, and then it takes tasks again.
    """
    worker = start(pool)
    worker.hear("READY=1")
    arguments = Path(f"/proc/{worker.pid}/cmdline").read_bytes()
    send("work", 1, 2.0)
    until(lambda: len(worker.starts()) == 1)

    worker.send(signal.SIGHUP)
    said = worker.hear("READY=1")
    send("work", 2)
    until(lambda: worker.ends() == {1: 1, 2: 1})

    assert "STOPPING=1" not in said
    assert arguments == Path(f"/proc/{worker.pid}/cmdline").read_bytes()
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait(), worker.output()


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_who_stops_a_worker_does_not_restart_it(
    pool: str, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    SIGTERM after SIGHUP ends it, and does not hurry: it is the first wish to stop.
    """
    worker = start(pool)
    worker.hear("READY=1")
    send("work", 1, 3.0)
    until(lambda: len(worker.starts()) == 1)

    worker.send(signal.SIGHUP)
    worker.is_silent("never", 1.2)
    worker.send(signal.SIGTERM)

    assert 0 == worker.wait(), worker.output()
    assert {1: 1} == worker.ends()
    assert 1 == worker.output().count("ready.")


@pytest.mark.parametrize("pool", POOLS)
def test_sigusr1_shows_where_the_worker_is(pool: str, start: Callable[..., Worker]) -> None:
    """
    As in Celery, the stack of each thread is in the log; under gevent, of each greenlet.
    """
    words = {"prefork": "LOCAL VARIABLES", "gevent": "_drain_when_requested"}[pool]
    worker = start(pool)
    worker.hear("READY=1")

    worker.send(signal.SIGUSR1)
    until(lambda: words in worker.output())

    assert worker.process.poll() is None


def test_a_launcher_that_fails_says_so(folder: Path, start: Callable[..., Worker]) -> None:
    """
    Its handlers change nothing of its errors.
    """
    worker = start("prefork", code=folder / "nowhere")

    assert 78 == worker.wait()
    assert "does not exist" in worker.output()


def test_the_worker_holds_no_signal_back(
    broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Neither the worker, nor its children, nor what a task starts: each ends when it is stopped.
    """
    worker = start("prefork")
    worker.hear("READY=1")
    send("blocked", 1)
    until(lambda: 1 in worker.ends())

    masks = [line.split()[2] for line in worker.log.read_text().splitlines() if "SigBlk" in line]

    assert ["0" * 16] * 2 == masks
    status = Path(f"/proc/{worker.pid}/status").read_text()
    assert f"SigBlk:\t{'0' * 16}" in status
    assert os.getpid() != worker.pid
