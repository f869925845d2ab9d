"""The health of a running worker is read, from its heartbeat alone."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.acceptance.worker.relay import Relay
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import BOTH, EITHER, POOLS, Worker, at_rest


@pytest.mark.parametrize("pool", POOLS)
def test_a_working_worker_is_alive_and_ready(
    pool: str, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    The heartbeat has what runs, what was fetched last, and what waits.
    """
    worker = start(pool, delay_seconds=0)
    worker.hear("READY=1")
    send("work", 1, 5.0)
    send("work", 2, countdown=600)
    beat = until(lambda: (b := worker.heartbeat()) and b.active == 1 and b.reserved == 1 and b)

    verdict = worker.verdict()

    assert (True, True) == (verdict.alive, verdict.ready), verdict
    assert (pool, 2, 1, "ready") == (beat.pool, beat.concurrency, beat.free, beat.state)
    assert beat.last_task["name"] == "proj.work"
    assert beat.connected
    assert {"celery": 0} == beat.queues
    until(lambda: (b := worker.heartbeat()) and b.processed == 1)


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_a_worker_outlives_a_restart_of_redis(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    While Redis is down it is alive and not ready; then it is ready again, and all tasks run once.
    """
    worker = start(pool, delay_seconds=0)
    worker.hear("READY=1")
    for number in range(6):
        send("work", number, 1.0)
    send("work", 6, countdown=600)
    until(lambda: len(worker.starts()) == 2)
    broker.stop()
    verdicts = []

    def is_ready(wanted: bool) -> bool:  # noqa: FBT001
        verdicts.append(worker.verdict())
        return verdicts[-1].ready is wanted

    until(lambda: is_ready(wanted=False))
    # Long enough for the running tasks to end, and for Celery to fail some times.
    worker.is_silent("never", 7)
    verdicts.append(worker.verdict())
    still_down = verdicts[-1]
    broker.start()
    until(lambda: is_ready(wanted=True))
    send("work", 100)
    until(lambda: len(worker.ends()) == 7)
    until(lambda: broker.unacked() == 1)

    assert {True} == {verdict.alive for verdict in verdicts}, verdicts
    assert not still_down.ready
    assert "Redis has not answered" in still_down.reason
    assert dict.fromkeys([*range(6), 100], 1) == worker.starts() == worker.ends()
    assert worker.process.poll() is None


@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_a_cut_connection_runs_no_task_twice(
    pool: str,
    transport: str,
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    Tasks that run while the connection is cut are acknowledged through the next one.
    """
    worker = start(pool)
    worker.hear("READY=1")
    for number in range(8):
        send("work", number, 2.0)
    at_rest(pool, transport, broker)
    until(lambda: len(worker.starts()) == 2)

    for kind in ("normal", "pubsub"):
        broker.client.client_kill_filter(_type=kind, skipme=True)
    until(lambda: len(worker.ends()) == 8)
    until(lambda: broker.unacked() == 0)

    assert {1} == set(worker.starts().values()), worker.output()
    assert worker.process.poll() is None


@BOTH
def test_a_task_whose_child_has_not_accepted_it_runs_once(
    transport: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    A child runs what was written to it, though the connection is cut before it says so.
    """
    worker = start("prefork", concurrency=1, transport=transport)
    worker.hear("READY=1")
    (child,) = until(worker.children)
    os.kill(child, signal.SIGSTOP)
    send("work", 1, 0.1)
    until(lambda: broker.unacked() == 1)
    # By then it is written: the heartbeat is of a later turn of the loop.
    beats = until(worker.heartbeat).time
    until(lambda: until(worker.heartbeat).time > beats)

    broker.client.client_kill_filter(_type="normal", skipme=True)
    broker.client.client_kill_filter(_type="pubsub", skipme=True)
    send("work", 2, 0.1)
    until(lambda: broker.unacked() == 2)
    os.kill(child, signal.SIGCONT)
    until(lambda: set(worker.ends()) == {1, 2})
    until(broker.is_empty)

    assert {1: 1, 2: 1} == worker.starts() == worker.ends(), worker.output()


@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_a_worker_waits_for_redis_at_its_start(
    pool: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    Before Redis is there it is alive and not ready, and it becomes ready without a restart.
    """
    broker.stop()
    worker = start(pool)
    until(lambda: "Redis has not answered" in worker.verdict().reason)
    verdict = worker.verdict()
    broker.start()

    said = worker.hear("READY=1")

    assert (True, False) == (verdict.alive, verdict.ready)
    assert "WATCHDOG=1" not in said


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
@BOTH
def test_a_connection_that_passes_nothing_is_not_called_healthy(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    A firewall has forgotten the worker's connections: it makes new ones, or is called dead.
    """
    with Relay(broker.port) as relay:
        worker = start(
            pool,
            environ={"TASK_SERVER_BROKER_URL": relay.url},
            timing={"socket_timeout": 4, "connect_timeout": 4, "health_check": 5},
        )
        worker.hear("READY=1")
        send("work", 0)
        until(lambda: worker.ends() == {0: 1})
        relay.freeze()

        def is_reported() -> bool:
            # Kombu's transport loses what Redis has sent into the void: give it more.
            if not broker.queued():
                send("work", 1)
            return worker.ends()[1] > 0 or not worker.verdict().alive

        until(is_reported)


@pytest.mark.parametrize("pool", POOLS)
def test_a_consumer_that_takes_nothing_is_dead(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Its loop turns and Redis answers, but messages lie in its queue and its places are free.
    """
    worker = start(pool, environ={"PROJ_STUCK": "yes"}, timing={"queue_scan": 1})
    worker.hear("READY=1")
    for number in range(3):
        send("work", number)

    # It reads the lengths of its queues twice, and must find them equal.
    verdict = until(lambda: (v := worker.verdict(max_idle=2)) and not v.alive and v)

    assert "messages queued" in verdict.reason
    assert worker.heartbeat().connected  # type: ignore[union-attr]
    assert worker.verdict().alive


@pytest.mark.parametrize("pool", POOLS)
def test_a_stopped_loop_is_dead(pool: str, start: Callable[..., Worker]) -> None:
    """
    A worker whose loop does not turn is found out, although its process exists.
    """
    worker = start(pool)
    worker.hear("READY=1")
    worker.send(signal.SIGSTOP)

    verdict = until(lambda: not (v := worker.verdict(stale=3)).alive and v)

    assert "is stopped, as by SIGSTOP" in verdict.reason
    worker.send(signal.SIGCONT)
    until(lambda: worker.verdict(stale=3).ready)


def test_a_task_that_hogs_the_gevent_hub_is_seen(
    start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    A computing task stops all greenlets, which the verdict says; then all is well again.
    """
    worker = start("gevent")
    worker.hear("READY=1")
    # What it waits for a processor does not count.
    send("burn", 1, 6.0)

    verdict = until(lambda: not (v := worker.verdict(stale=3)).alive and v)

    assert "a task that computes" in verdict.reason
    until(lambda: worker.verdict(stale=3).ready)


@pytest.mark.parametrize("pool", EITHER)
def test_a_drain_is_alive_and_not_ready(
    pool: str, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    While it drains it is alive and not ready; then the heartbeat is gone.
    """
    worker = start(pool)
    worker.hear("READY=1")
    send("work", 1, 2.0)
    until(lambda: len(worker.starts()) == 1)
    worker.send(signal.SIGTERM)
    worker.hear("STOPPING=1")

    verdict = worker.verdict()

    assert (True, False) == (verdict.alive, verdict.ready)
    assert "draining (SIGTERM)" in verdict.reason
    assert 0 == worker.wait()
    assert worker.heartbeat() is None


@pytest.mark.parametrize("pool", EITHER)
def test_a_killed_worker_is_dead(pool: str, start: Callable[..., Worker]) -> None:
    """
    The heartbeat of a process that is gone does not count, fresh as it is.
    """
    worker = start(pool)
    worker.hear("READY=1")
    worker.send(signal.SIGKILL)
    worker.wait()

    verdict = worker.verdict()

    assert (False, False) == (verdict.alive, verdict.ready)
    assert "has exited" in verdict.reason


@pytest.mark.parametrize("pool", EITHER)
def test_only_a_healthy_worker_notifies_systemd(pool: str, start: Callable[..., Worker]) -> None:
    """
    WATCHDOG=1 comes while the loop turns, and stays away while it does not.
    """
    worker = start(pool, environ={"WATCHDOG_USEC": "2000000"})
    worker.hear("READY=1")
    said = worker.hear("WATCHDOG=1")
    worker.hear("WATCHDOG=1")
    worker.send(signal.SIGSTOP)

    silent = worker.is_silent("WATCHDOG=1", 2.5)

    worker.send(signal.SIGCONT)
    assert silent
    assert "READY=1" not in said
    worker.hear("WATCHDOG=1")
    worker.send(signal.SIGTERM)
    worker.hear("STOPPING=1")


def test_a_gevent_worker_drains_at_its_memory_limit(
    broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    It finishes what runs, requeues the rest and exits with 0, to be restarted.
    """
    worker = start("gevent", memory_limit="200MiB", delay_seconds=0)
    worker.hear("READY=1")
    for number in range(5):
        send("work", number, countdown=600)
    send("work", 5, 4.0)
    until(lambda: len(worker.starts()) == 1)
    send("hold", 6, 300)
    code = worker.wait(30)

    assert 0 == code
    assert {5: 1, 6: 1} == worker.ends(), worker.output()
    assert (5, 0) == (broker.queued(), broker.unacked())
    assert "the limit is 180 MiB: draining" in worker.output()
