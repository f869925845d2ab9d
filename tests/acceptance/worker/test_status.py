"""What a snapshot says of real workers, whatever has become of them."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from task_server.monitor import Queue, Snapshot, Worker, snapshot
from task_server.monitor.troubles import Limits, troubles
from task_server.transport.store.keys import Keys
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, PROJECT
from tests.support.worker import Worker as Process

pytestmark = pytest.mark.slow

#: So that a worker registers, and becomes silent, soon.
TIMING = {"registration": 0.2, "heartbeat": 0.1}

#: The key that lets a waiting task go on.
GO = "go"


def look(broker: Redis) -> Snapshot:
    """Return what is in *broker*."""
    return snapshot(broker.client, Keys())


def worker_in(found: Snapshot) -> Worker:
    """Return the only worker of *found*."""
    (worker,) = found.workers
    return worker


def queue_in(found: Snapshot, name: str = "celery") -> Queue:
    """Return the queue *name* of *found*."""
    return next(queue for queue in found.queues if queue.name == name)


def wrong(found: Snapshot, **limits: float) -> dict[str, str]:
    """Return what is wrong in *found*, by what it is."""
    return {one.what: one.message for one in troubles(found, Limits(**limits))}


@pytest.fixture
def busy(broker: Redis, start: Callable[..., Process], send: Callable[..., None]) -> Any:
    """Start a worker whose two places have a task each that waits; a third task waits too."""

    def start_busy(pool: str, **environ: str) -> Process:
        process = start(pool, prefetch_multiplier=1, timing=TIMING, environ=environ)
        process.hear("READY=1")
        for number in range(2):
            send("wait_for", number, broker.url, GO)
        until(lambda: 2 == len(process.starts()))
        return process

    return start_busy


@pytest.mark.parametrize("pool", POOLS)
def test_a_busy_worker(pool: str, broker: Redis, busy: Any, send: Callable[..., None]) -> None:
    """
    Who it is, what it takes from, and each task that it has, since when it runs.
    """
    process = busy(pool)
    until(lambda: 2 == len(worker_in(look(broker)).started))
    found = look(broker)
    worker, queue = worker_in(found), queue_in(found)

    assert {} == wrong(found)
    assert ("ready", pool, process.pid) == (worker.state, worker.pool, worker.pid)
    assert (2, 2, 0) == (worker.concurrency, worker.active, worker.processed)
    assert {"proj.wait_for"} == {one.task for one in worker.in_flight}
    assert set(worker.started) == {one.tag for one in worker.in_flight}
    assert all(one.lease_until > found.at for one in worker.in_flight)
    assert (2, 0, (worker.node,)) == (queue.in_flight, queue.length, queue.consumers)
    assert worker.node in wrong(found, running=0.0)


def test_what_waits_has_an_age(broker: Redis, busy: Any, app: Celery) -> None:
    """
    Of a message that says when it was sent, exactly; of another, since somebody looked.
    """
    busy("prefork")
    app.send_task("proj.work", (7,))
    until(lambda: 1 == queue_in(look(broker)).length)
    first, second = (queue_in(look(broker)).oldest for _ in range(2))
    assert (False, False) == (first.is_exact, second.is_exact)
    assert first.seconds <= second.seconds

    hour_ago = broker.client.time()[0] - 3600
    broker.client.delete("celery")
    app.send_task("proj.work", (8,), headers={"task-server-sent": [hour_ago, 0]})
    oldest = until(lambda: queue_in(look(broker)).oldest)

    assert oldest.is_exact
    assert 3600 <= oldest.seconds < 7200
    assert "celery" in wrong(look(broker))


@pytest.mark.parametrize("pool", POOLS)
def test_a_killed_worker_is_silent_and_what_it_has_is_told(
    pool: str, broker: Redis, busy: Any
) -> None:
    """
    Since when it is silent, how many messages are its own, and until when; and where it ran,
    since whoever looks for it asks for the node.
    """
    process = busy(pool, TASK_SERVER_MACHINE="node-7")
    until(lambda: worker_in(look(broker)).active == 2)
    process.kill()
    until(lambda: "silent" == worker_in(look(broker)).state)
    found = look(broker)
    worker = worker_in(found)

    assert worker.seen == worker.since
    assert 2 == len(worker.in_flight)
    assert "2 messages are its own until" in wrong(found)[worker.node]
    assert "on node-7; 2 messages" in wrong(found)[worker.node]
    assert ("node-7", f"{worker.host} on node-7") == (worker.machine, worker.place)


def test_a_stopped_worker_is_silent_until_it_goes_on(broker: Redis, busy: Any) -> None:
    """
    SIGSTOP, as a suspended machine.
    """
    process = busy("prefork")
    process.send(signal.SIGSTOP)
    until(lambda: "silent" == worker_in(look(broker)).state)
    process.send(signal.SIGCONT)

    until(lambda: "ready" == worker_in(look(broker)).state)


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_drains_leaves(pool: str, broker: Redis, busy: Any) -> None:
    """
    It is seen draining, and is not registered any more when it has ended.
    """
    process = busy(pool)
    process.send(signal.SIGTERM)
    until(lambda: "draining" == worker_in(look(broker)).state)
    broker.client.lpush(GO, "1", "2")

    assert 0 == process.wait()
    assert () == look(broker).workers
    assert 0 == look(broker).in_flight


def test_a_worker_of_celery_is_named_and_what_it_has_is_counted(
    broker: Redis, stock: Callable[..., Process], send: Callable[..., None]
) -> None:
    """
    Of one with Kombu's transport Redis says only its node and that messages are in flight.
    """
    process = stock("proj", "--concurrency=1", "--queues=celery", "--hostname=stock@h")
    for number in range(3):
        send("wait_for", number, broker.url, GO)
    # It runs one, which it has acknowledged, and has the others.
    until(lambda: process.starts() and 2 == look(broker).in_flight)
    found = look(broker)

    assert [("stock@h", "", None)] == [(one.node, one.run, one.state) for one in found.workers]
    assert 2 * ["proj.wait_for"] == [one.task for one in found.unowned]
    assert 2 == queue_in(found).in_flight
    for number in range(9):
        send("work", number)
    until(lambda: queue_in(look(broker)).length)
    assert "whether Celery's own do (stock@h), Redis does not say" in wrong(look(broker))["celery"]


def test_nobody_takes_from_a_queue(broker: Redis, app: Celery) -> None:
    """
    No worker has ever been there: the queue is known from its binding, and named.
    """
    app.send_task("proj.work", (1,), queue="forgotten")
    found = look(broker)

    assert {"forgotten": "1 wait, and nobody takes from it"} == wrong(found)


def command(folder: Path, broker: Redis, *arguments: str) -> dict[str, Any]:
    """Return how `task-server status` is started for the project, in a terminal of 80 columns."""
    file = folder / "status.toml"
    file.write_text(f'app = "proj"\ncode = "{PROJECT}"\nbroker_url = "{broker.url}"\n')
    environ = {**os.environ, "COLUMNS": "80", "LINES": "40", "PROJ_LOG": str(folder / "unused")}
    words = (sys.executable, "-m", "task_server", "status", "--config", str(file), *arguments)
    return {"args": words, "env": environ}


def run(folder: Path, broker: Redis, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `task-server status` for the project."""
    return subprocess.run(
        **command(folder, broker, *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command(folder: Path, broker: Redis, busy: Any, send: Callable[..., None]) -> None:
    """
    One screen of 80 columns: what is wrong first, ids whole, and 1 if anything is.
    """
    busy("prefork")
    until(lambda: 2 == len(worker_in(look(broker)).started))
    good = run(folder, broker)
    (one, *_) = worker_in(look(broker)).in_flight

    assert 0 == good.returncode, good.stderr
    assert "nothing is wrong" in good.stdout
    assert one.id in good.stdout
    assert all(len(line) <= 80 for line in good.stdout.splitlines())
    bad = run(folder, broker, "--max-runtime", "0")
    assert 1 == bad.returncode
    assert bad.stdout.startswith("warning: w@")
    values = json.loads(run(folder, broker, "--json", "celery").stdout)
    assert [("celery", 2)] == [(queue["name"], queue["in_flight"]) for queue in values["queues"]]
    unknown = run(folder, broker, "celry")
    assert 2 == unknown.returncode
    assert "did you mean celery?" in unknown.stderr


def test_one_queue_or_worker_has_its_own_troubles(folder: Path, broker: Redis, app: Celery) -> None:
    """
    What is wrong elsewhere is not said, nor is the exit code of it.
    """
    app.send_task("proj.work", (1,), queue="forgotten")
    broker.client.sadd("_kombu.binding.quiet", "quiet\x06\x16\x06\x16quiet")

    assert 1 == run(folder, broker).returncode
    assert 1 == run(folder, broker, "forgotten").returncode
    quiet = run(folder, broker, "quiet")
    assert 0 == quiet.returncode, quiet.stderr
    assert "nothing is wrong" in quiet.stdout
    assert "forgotten" not in quiet.stdout


def test_the_queues_of_the_project_are_shown(folder: Path, broker: Redis) -> None:
    """
    Also those that Redis knows nothing of.
    """
    values = json.loads(run(folder, broker, "--json").stdout)

    assert {"celery", "io_bound"} <= {queue["name"] for queue in values["queues"]}
    assert [] == values["tasks"]


def test_watching_goes_on_while_redis_does_not_answer(folder: Path, broker: Redis) -> None:
    """
    The last look stays, with since when; Ctrl-C ends it.
    """
    assert broker.process is not None
    master, slave = pty.openpty()
    process = subprocess.Popen(
        **command(folder, broker, "--watch"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    os.set_blocking(master, False)
    seen = bytearray()

    def shows(text: bytes) -> bool:
        with suppress(OSError):
            seen.extend(os.read(master, 1 << 16))
        return text in seen

    try:
        until(lambda: shows(b"nothing is wrong"))
        broker.process.send_signal(signal.SIGSTOP)
        until(lambda: shows(b"Redis has not answered since"))
        broker.process.send_signal(signal.SIGCONT)
        broker.client.rpush("forgotten", "x")
        broker.client.sadd("_kombu.binding.forgotten", "f\x06\x16\x06\x16forgotten")
        until(lambda: shows(b"forgotten"))
        process.send_signal(signal.SIGINT)
        # Its end is shown once more, where the terminal keeps it.
        assert 1 == until(lambda: (shows(b"-"), process.poll())[1])
    finally:
        broker.process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        os.close(master)


def test_a_redis_that_hangs_or_is_gone_is_said_soon(folder: Path, broker: Redis) -> None:
    """
    69, with what to do; the time-out of a second bounds the wait.
    """
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    hung = run(folder, broker)
    broker.process.send_signal(signal.SIGCONT)
    broker.stop()
    gone = run(folder, broker)

    assert 69 == hung.returncode, hung.stderr
    assert "no answer from" in hung.stderr
    assert 69 == gone.returncode
    assert "connection refused" in gone.stderr
