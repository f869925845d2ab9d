"""What a worker that is killed, paused or cut off had: who runs it, when, and how often."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("transport", ["atomic"], indirect=True)]

#: Longer than any test: who does not wait for it has proof.
LONG = 600

#: As short as may be.
SHORT = 5


def elsewhere(folder: Path, name: str = "elsewhere") -> dict[str, str]:
    """Return the variables of a worker with a folder of its own, as in another container."""
    own = folder / name
    own.mkdir(mode=0o700, exist_ok=True)
    return {"TASK_SERVER_RUNTIME_DIR": str(own)}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("whole", [True, False], ids=["group", "main process"])
def test_a_killed_workers_tasks_run_when_it_is_back(
    pool: str,
    whole: bool,  # noqa: FBT001
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    At once, and not after the lease: its run file says that no process of it is left.
    """
    worker = start(pool, lease_seconds=LONG)
    worker.hear("READY=1")
    for number in range(6):
        send("work", number, 60.0 if number < 2 else 0.0)
    until(lambda: len(worker.starts()) >= 2)
    until(lambda: broker.unacked() >= 3)
    (worker.send_group if whole else worker.send)(signal.SIGKILL)
    worker.wait()
    back = start(pool, lease_seconds=LONG)
    back.hear("READY=1")
    began = time.monotonic()
    until(lambda: {0, 1} == {number for number, count in back.starts().items() if count == 2})

    assert time.monotonic() - began < LONG / 10
    assert "is redelivered; w@" in back.output()
    assert f"(pid {worker.process.pid}) owned it until " in back.output()
    # Of the one that runs now.
    assert [f"w.{broker_run(back)}.run"] == [one.name for one in back.folder.glob("*.run")]


def broker_run(worker: Worker) -> str:
    """Return the run that stands in what *worker* holds."""
    entries = worker_entries(worker)
    return entries[0].split(b'"run": "')[1][:32].decode()


def worker_entries(worker: Worker) -> list[bytes]:
    values = list(worker.broker.client.hvals("unacked"))  # type: ignore[arg-type]
    return [value for value in values if b'"pid": %d,' % worker.process.pid in value]


@pytest.mark.parametrize("pool", POOLS)
def test_another_worker_runs_them_after_the_lease(
    pool: str,
    folder: Path,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    Not after the visibility timeout of an hour, and without proof not before. An idle one does it.
    """
    worker = start(pool, lease_seconds=SHORT)
    worker.hear("READY=1")
    send("work", 1, 60.0)
    until(worker.starts)
    other = start(pool, lease_seconds=SHORT, environ=elsewhere(folder))
    other.hear("READY=1")
    # It has taken a share of the folder's lines in the log, so only the entry shows it.
    killed = time.time()
    worker.send_group(signal.SIGKILL)
    worker.wait()
    until(lambda: worker.starts()[1] == 2)

    waited = time.time() - killed
    assert SHORT / 3 < waited < 3600
    assert "is redelivered; w@" in other.output()


@pytest.mark.nightly
@pytest.mark.parametrize("pool", POOLS)
def test_with_the_defaults_it_takes_less_than_a_minute(
    pool: str,
    folder: Path,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    From the kill of a worker to the second run of each of its tasks, on a host of its own.
    """
    worker = start(pool)
    worker.hear("READY=1")
    for number in range(2):
        send("work", number, 90.0)
    until(lambda: len(worker.starts()) == 2)
    other = start(pool, environ=elsewhere(folder))
    other.hear("READY=1")
    killed = time.monotonic()
    worker.send_group(signal.SIGKILL)
    worker.wait()
    until(lambda: worker.starts() == {0: 2, 1: 2}, seconds=60)

    assert time.monotonic() - killed < 60


@pytest.mark.parametrize("pool", POOLS)
def test_a_paused_worker_begins_nothing_that_others_have(
    pool: str,
    folder: Path,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    What it was running may run twice, and both logs say so; what it had reserved runs once.
    """
    worker = start(pool, lease_seconds=SHORT, concurrency=1)
    worker.hear("READY=1")
    url = broker.url
    send("wait_for", 1, url, "go")
    for number in (2, 3, 4):
        send("work", number)
    # Under gevent it waits with one for the free place.
    until(lambda: broker.unacked() >= {"prefork": 4, "gevent": 2}[pool])
    until(lambda: worker.starts() == {1: 1})
    worker.send_group(signal.SIGSTOP)
    other = start(pool, lease_seconds=SHORT, environ=elsewhere(folder))
    other.hear("READY=1")
    until(lambda: worker.starts() == {1: 2, 2: 1, 3: 1, 4: 1})
    worker.send_group(signal.SIGCONT)
    until(lambda: "lost its lease while it was running" in worker.output())
    broker.client.lpush("go", "1", "2")
    until(lambda: worker.ends()[1] == 2)
    until(lambda: broker.unacked() == 0)
    send("work", 5)
    send("work", 6)
    until(lambda: {5, 6} <= set(worker.ends()))
    worker.send(signal.SIGTERM)
    other.send(signal.SIGTERM)

    assert [0, 0] == [worker.wait(), other.wait()]
    assert {1: 2, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1} == worker.starts()
    logged = (
        (worker, "lost its lease while it was running"),
        (other, "is redelivered; w@"),
    )
    for each, words in logged:
        lines = [line for line in each.output().splitlines() if words in line]
        assert any("proj.wait_for[" in line for line in lines)
    assert (0, 0) == (broker.queued(), broker.unacked())


def test_a_task_that_blocks_the_loop_keeps_its_message(
    folder: Path, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    A gevent task that never yields, for longer than its lease, runs once, and so do its neighbours.
    """
    worker = start("gevent", lease_seconds=SHORT, concurrency=4)
    worker.hear("READY=1")
    other = start("gevent", lease_seconds=SHORT, environ=elsewhere(folder), concurrency=1)
    other.hear("READY=1")
    for number in range(4):
        send("compute", number, SHORT * 2.0)
    until(lambda: len(worker.ends()) == 4)
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))

    assert dict.fromkeys(range(4), 1) == worker.starts() == worker.ends(), (
        worker.output() + other.output()
    )


@pytest.mark.parametrize("pool", POOLS)
def test_two_workers_of_one_folder_take_nothing_from_each_other(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    The lock of the one that lives is not free.
    """
    worker = start(pool, lease_seconds=LONG, concurrency=1)
    worker.hear("READY=1")
    send("wait_for", 1, broker.url, "go")
    until(lambda: worker.starts() == {1: 1})
    other = start(pool, lease_seconds=LONG)
    other.hear("READY=1")
    send("work", 2)
    broker.client.lpush("go", "1")
    until(lambda: broker.unacked() == 0 == broker.queued())

    assert {1: 1, 2: 1} == worker.starts() == worker.ends(), worker.output()


def test_a_stock_worker_beside_takes_nothing_from_it(
    broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    The time of a message is one that Kombu's transport understands, and so is what it restores.
    """
    worker = start("prefork", lease_seconds=SHORT, environ={"TASK_SERVER_VISIBILITY_TIMEOUT": "4"})
    worker.hear("READY=1")
    send("work", 1, 12.0)
    until(lambda: worker.starts() == {1: 1})
    stock = start("prefork", transport="kombu", environ={"TASK_SERVER_VISIBILITY_TIMEOUT": "4"})
    stock.hear("READY=1")
    until(lambda: worker.ends() == {1: 1})
    until(lambda: broker.unacked() == 0)

    assert {1: 1} == worker.starts()
    assert "received" not in stock.output()


def test_a_clean_end_leaves_no_run_file(
    folder: Path, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    Only a process that was killed leaves one; it is not there for the world to read.
    """
    worker = start("prefork")
    worker.hear("READY=1")
    (found,) = folder.glob("w.*.run")
    mode = found.stat().st_mode & 0o777
    worker.send(signal.SIGTERM)

    assert 0 == worker.wait()
    assert [] == list(folder.glob("*.run"))
    assert 0o600 == mode
    assert os.getuid() == folder.stat().st_uid
