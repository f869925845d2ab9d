"""A worker that is stopped finishes what runs, requeues the rest, and exits with 0."""

import signal
from collections.abc import Callable

import pytest
from celery import Celery

from task_server.health.process import is_running
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import (
    BOTH,
    EITHER,
    POOLS,
    REPETITIONS,
    Worker,
    at_rest,
)


def lost(sent: int, worker: Worker, broker: Redis) -> int:
    """Return the tasks of *sent* that have neither ended nor lie in Redis."""
    return sent - len(worker.ends()) - broker.queued() - broker.unacked()


@pytest.mark.parametrize("repetition", range(REPETITIONS))
@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_a_drain_under_load_loses_nothing(
    pool: str,
    repetition: int,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    SIGTERM: running tasks end, all others are back in the queue at once, ETA included.
    """
    worker = start(pool, delay_seconds=0)
    worker.hear("READY=1")
    for number in range(2):
        send("work", number, countdown=600)
    for number in range(2, 42):
        send("work", number, 0.05)
    for number in range(42, 62):
        send("work", number, 1.0 + 0.05 * repetition)
    until(lambda: len(worker.starts()) >= 41)

    worker.send(signal.SIGTERM)
    code = worker.wait()

    assert 0 == code
    assert 0 == lost(62, worker, broker), worker.output()
    assert 0 == broker.unacked(), worker.output()
    assert worker.starts() == worker.ends()
    assert {1} == set(worker.ends().values())
    assert 2 <= broker.queued()


@pytest.mark.parametrize(
    "second",
    [
        signal.SIGTERM,
        *(pytest.param(one, marks=pytest.mark.slow) for one in (signal.SIGQUIT, signal.SIGINT)),
    ],
)
@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_a_second_signal_hurries(
    pool: str,
    second: int,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    A second signal stops the running tasks and hands them back; none is lost.
    """
    worker = start(pool, drain_seconds=300, delay_seconds=0)
    worker.hear("READY=1")
    for number in range(10):
        send("work", number, 200)
    send("work", 10, 200, countdown=600)
    until(lambda: len(worker.starts()) == 2)

    worker.send(signal.SIGTERM)
    worker.hear("STOPPING=1")
    # Two signals within a second are taken as one.
    worker.is_silent("never", 1.1)
    worker.send(second)
    code = worker.wait(15)

    assert 0 == code
    assert 11 == broker.queued(), worker.output()
    assert 0 == broker.unacked()


@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_sigquit_hurries_from_the_start(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    A single SIGQUIT does not wait for the running tasks.
    """
    worker = start(pool, drain_seconds=300)
    worker.hear("READY=1")
    for number in range(4):
        send("work", number, 200)
    until(lambda: len(worker.starts()) == 2)

    worker.send(signal.SIGQUIT)
    code = worker.wait(15)

    assert 0 == code
    assert (4, 0) == (broker.queued(), broker.unacked()), worker.output()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("pool", EITHER)
def test_a_signal_to_the_whole_group_drains_as_well(
    pool: str,
    number: int,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    Ctrl-C, or a SIGTERM to every process, does not cut off the running tasks.
    """
    worker = start(pool)
    worker.hear("READY=1")
    for task in range(6):
        send("work", task, 1.5)
    until(lambda: len(worker.starts()) == 2)

    worker.send_group(number)
    code = worker.wait()

    assert 0 == code
    assert {0: 1, 1: 1} == worker.starts() == worker.ends(), worker.output()
    assert (4, 0) == (broker.queued(), broker.unacked())


@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_tasks_that_outlast_the_drain_are_handed_back(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    After the drain time a running task is stopped and runs again elsewhere, whatever it raises.
    """
    worker = start(pool, drain_seconds=1)
    worker.hear("READY=1")
    send("work", 0, 200)
    send("stubborn", 1, 200)
    until(lambda: len(worker.starts()) == 2)

    worker.send(signal.SIGTERM)
    code = worker.wait(15)

    assert 0 == code
    assert (2, 0) == (broker.queued(), broker.unacked()), worker.output()
    assert {} == worker.ends()


@pytest.mark.parametrize("pool", EITHER)
def test_a_task_acknowledged_early_is_named_when_it_is_stopped(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    It cannot be handed back any more, so the log says which one it was.
    """
    worker = start(pool, drain_seconds=1)
    worker.hear("READY=1")
    send("early", 0, 200)
    until(lambda: len(worker.starts()) == 1)

    worker.send(signal.SIGTERM)
    code = worker.wait(15)

    assert 0 == code
    assert (0, 0) == (broker.queued(), broker.unacked())
    assert "stopped proj.early[" in worker.output()


@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_the_handed_back_tasks_are_first_in_line(
    pool: str,
    transport: str,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    Another worker runs them before what came later, in their order.
    """
    worker = start(pool, drain_seconds=300, concurrency=1)
    worker.hear("READY=1")
    for number in range(8):
        send("work", number, 1.5 if number == 0 else 0)
    until(lambda: len(worker.starts()) == 1)
    # With Kombu's transport a message that is on its way at the signal goes to
    # the end of the queue.
    at_rest(pool, transport, broker, places=1)
    worker.send(signal.SIGTERM)
    worker.wait()
    after = start(pool, concurrency=1)
    until(lambda: len(after.ends()) == 8)

    lines = [line.split() for line in after.log.read_text().splitlines()]

    assert [str(number) for number in range(8)] == [word[1] for word in lines if word[0] == "done"]


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_a_broker_that_stops_during_the_drain_does_not_hold_up_the_end(
    pool: str,
    transport: str,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    The worker ends within its bound; the messages stay registered for others.
    """
    worker = start(pool, drain_seconds=3, timing={"finish": 4})
    worker.hear("READY=1")
    for number in range(10):
        send("work", number, 200)
    until(lambda: len(worker.starts()) == 2)
    at_rest(pool, transport, broker)
    worker.send(signal.SIGTERM)
    worker.hear("STOPPING=1")
    broker.stop()
    code = worker.wait(25)
    broker.start()

    assert 0 == code, worker.output()
    assert 0 == lost(10, worker, broker), worker.output()


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_a_hung_broker_does_not_hold_up_the_end(
    pool: str,
    transport: str,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    A Redis that accepts and never answers does not keep the worker either.
    """
    worker = start(pool, drain_seconds=1, timing={"finish": 4})
    worker.hear("READY=1")
    for number in range(10):
        send("work", number, 200)
    until(lambda: len(worker.starts()) == 2)
    at_rest(pool, transport, broker)
    broker.signal(signal.SIGSTOP)
    worker.send(signal.SIGTERM)
    code = worker.wait(25)
    broker.signal(signal.SIGCONT)

    assert 0 == code, worker.output()
    assert 0 == lost(10, worker, broker), worker.output()


@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_an_idle_worker_stops_at_once(pool: str, start: Callable[..., Worker]) -> None:
    """
    Without a running task the drain time does not matter.
    """
    worker = start(pool, drain_seconds=300)
    worker.hear("READY=1")

    worker.send(signal.SIGTERM)
    code = worker.wait()

    assert 0 == code


def test_a_killed_worker_leaves_no_child(
    broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    After kill -9 of the main process no child goes on with a task that runs again elsewhere.
    """
    worker = start("prefork")
    worker.hear("READY=1")
    for number in range(2):
        send("work", number, 200)
    until(lambda: len(worker.starts()) == 2)
    pids = worker.pids()

    worker.send(signal.SIGKILL)
    worker.wait()

    assert 2 == len(pids)
    until(lambda: not any(_exists(pid) for pid in pids))
    assert {} == worker.ends()


def _exists(pid: int) -> bool:
    return is_running(pid, None)


@pytest.mark.parametrize("pool", EITHER)
def test_the_remote_shutdown_drains_as_well(
    pool: str,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    Flower's button lets running tasks end and requeues the rest, like SIGTERM.
    """
    worker = start(pool)
    worker.hear("READY=1")
    for number in range(5):
        send("wait_for", number, broker.url, "gate")
    until(lambda: len(worker.starts()) == 2)

    with Celery("proj", broker=broker.url) as remote:
        # Under gevent it listens a moment after it is ready, and Redis keeps no broadcast.
        until(remote.control.ping)
        remote.control.shutdown()
    until(lambda: (beat := worker.heartbeat()) and beat.state == "draining")
    broker.client.lpush("gate", "one", "other")
    code = worker.wait()

    assert 0 == code
    assert {0: 1, 1: 1} == worker.ends(), worker.output()
    assert (3, 0) == (broker.queued(), broker.unacked())


def test_a_task_can_still_be_terminated(
    broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Children leave SIGTERM to the main process, and yet `revoke(terminate=True)` ends a task.
    """
    worker = start("prefork", concurrency=1)
    worker.hear("READY=1")
    send("work", 1, 200, task_id="doomed")
    until(lambda: len(worker.starts()) == 1)

    with Celery("proj", broker=broker.url) as remote:
        remote.control.revoke("doomed", terminate=True)
    send("work", 2)
    until(lambda: 2 in worker.ends())
    until(lambda: broker.unacked() == 0)

    assert {2: 1} == worker.ends()
