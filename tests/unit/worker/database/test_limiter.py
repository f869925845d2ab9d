"""
Whose turn it is for a connection; without a server.
"""

import gevent
import pytest
from gevent.lock import RLock

from task_server.worker.database.limiter import ConnectionLimiter
from task_server.worker.database.slots import NoSlotError


def test_slots_go_in_the_order_of_arrival() -> None:
    """
    Who waited first is served first.
    """
    limiter = ConnectionLimiter(1, 1, 5.0)
    served: list[int] = []

    def task(number: int) -> None:
        limiter.acquire(number)
        served.append(number)
        gevent.sleep(0)
        limiter.release(number)

    gevent.joinall([gevent.spawn(task, number) for number in range(20)])

    assert list(range(20)) == served
    assert 0 == limiter.used


def test_a_greenlet_killed_after_its_grant_passes_the_slot_on() -> None:
    """
    The slot of a task that was granted one and never woke up is not lost.
    """
    limiter = ConnectionLimiter(1, 1, 5.0)
    limiter.acquire(1)
    victim, heir = gevent.spawn(limiter.acquire, 2), gevent.spawn(limiter.acquire, 3)
    gevent.sleep(0)
    # The kill is queued in the loop before the wake-up, so it arrives first.
    victim.kill(block=False)
    limiter.release(1)
    heir.join(1)

    assert heir.successful()
    assert 1 == limiter.used


def test_a_greenlet_killed_in_the_queue_leaves_it() -> None:
    """
    A waiter that is gone is not served.
    """
    limiter = ConnectionLimiter(1, 1, 5.0)
    limiter.acquire(1)
    victim = gevent.spawn(limiter.acquire, 2)
    gevent.sleep(0)
    victim.kill()

    assert 0 == limiter.waiting


@pytest.mark.parametrize(("limit", "each"), [(2, 2), (3, 3), (5, 3), (20, 4)])
def test_greenlets_that_need_several_slots_all_end(limit: int, each: int) -> None:
    """
    However they interleave, no set of tasks locks itself up, and none passes the limit.
    """
    limiter = ConnectionLimiter(limit, each, 5.0)
    most = 0

    def task(number: int) -> None:
        nonlocal most
        for _ in range(each):
            limiter.acquire(number)
            most = max(most, limiter.used)
            gevent.sleep(0)
        for _ in range(each):
            limiter.release(number)
            gevent.sleep(0)

    tasks = [gevent.spawn(task, number) for number in range(50)]
    gevent.joinall(tasks)

    assert all(each_task.successful() for each_task in tasks)
    assert 0 == limiter.used
    assert most <= limit


def test_a_wait_without_progress_ends() -> None:
    """
    The error says how many slots there are and for how long none was released.
    """
    limiter = ConnectionLimiter(1, 1, 0.05)
    limiter.acquire(1)

    with pytest.raises(NoSlotError, match=r"all 1 connections .* 0\.05 seconds"):
        limiter.acquire(2)


@pytest.mark.parametrize(
    ("limit", "each", "reserve"),
    [(1, 1, 0), (2, 1, 1), (4, 1, 1), (20, 1, 5), (20, 2, 5), (3, 3, 0)],
)
def test_a_quarter_of_the_slots_is_kept(limit: int, each: int, reserve: int) -> None:
    """
    At least one, but never a slot that the aliases of one task need.
    """
    limiter = ConnectionLimiter(limit, each, 60.0, reserve_after=60.0)
    tasks = [gevent.spawn(limiter.acquire, number) for number in range(limit + 1)]
    gevent.sleep(0)
    served = sum(task.ready() for task in tasks)
    gevent.killall(tasks)

    assert reserve == limiter.reserve
    # The last one may ask for more, if a task may.
    assert limit - reserve - (each - 1) == served


def test_the_reserve_goes_to_those_in_turn_when_nothing_moves() -> None:
    """
    After a while without a slot released, one after the other gets one, up to the limit.
    """
    limiter = ConnectionLimiter(8, 1, 60.0, reserve_after=0.02)
    tasks = [gevent.spawn(limiter.acquire, number) for number in range(10)]
    with gevent.Timeout(10):
        gevent.joinall(tasks, count=8)
    gevent.sleep(0.1)
    served = [task.ready() for task in tasks]
    gevent.killall(tasks)

    assert [True] * 8 + [False] * 2 == served
    assert 8 == limiter.used


def lock_and_slots(limiter: ConnectionLimiter, number: int) -> list[int | NoSlotError]:
    """Run *number* tasks: take a slot while owning a lock, keep it, and take the lock again."""
    lock = RLock()
    outcomes: list[int | NoSlotError] = []

    def task(number: int) -> None:
        holder = id(gevent.getcurrent())
        with lock:
            try:
                limiter.acquire(holder, gevent.getcurrent())
            except NoSlotError as error:
                outcomes.append(error)
                return
        gevent.sleep(0.01)
        with lock:
            outcomes.append(number)
        limiter.release(holder)

    tasks = [gevent.spawn(task, one) for one in range(number)]
    with gevent.Timeout(30):
        gevent.joinall(tasks)
    return outcomes


@pytest.mark.parametrize("limit", [2, 8])
def test_a_lock_of_the_application_is_no_deadlock(
    limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The owner of the lock gets a slot of the reserve, and a holder of a slot the lock; all end well.

    The log says so once, with the stacks.
    """
    limiter = ConnectionLimiter(limit, 1, 60.0, reserve_after=0.05)
    outcomes = lock_and_slots(limiter, 40)

    assert list(range(40)) == sorted(outcomes)  # type: ignore[type-var]
    assert (0, 0) == (limiter.used, limiter.waiting)
    (said,) = caplog.messages
    assert f"database_connections: 1 waiting for one of {limit} connections" in said
    assert "holds a connection, at:" in said
    assert "test_limiter.py" in said


def test_a_deadlock_that_no_reserve_solves_ends_with_an_error_that_names_it() -> None:
    """
    A wait ends, the rest of the tasks go on, and the limiter is as before.
    """
    limiter = ConnectionLimiter(1, 1, 60.0, reserve_after=0.05)
    outcomes = lock_and_slots(limiter, 3)
    errors = [str(outcome) for outcome in outcomes if isinstance(outcome, NoSlotError)]

    assert 3 == len(outcomes)
    assert errors
    assert "all 1 connections are held by tasks that wait for a lock" in errors[0]
    assert "which 1 of them want (at " in errors[0]
    assert "test_limiter.py" in errors[0]
    assert (0, 0) == (limiter.used, limiter.waiting)


def test_a_slow_task_is_no_deadlock() -> None:
    """
    As long as a holder of a slot sleeps, no wait ends before its time.
    """
    limiter = ConnectionLimiter(1, 1, 60.0, reserve_after=0.02)
    limiter.acquire(id(sleeper := gevent.spawn(gevent.sleep, 60)), sleeper)
    waiter = gevent.spawn(limiter.acquire, 2)
    gevent.sleep(0.3)

    assert not waiter.ready()
    assert limiter.stalled_for > 0.2
    gevent.killall([waiter, sleeper])
