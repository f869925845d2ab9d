"""
Whose turn it is for a connection, without a server.
"""

import gevent
import pytest

from task_server.worker.green_gate import Gate, NoPlaceError


def test_places_go_in_the_order_of_arrival() -> None:
    """
    Who waited first is served first.
    """
    gate = Gate(1, 1, 5.0)
    served: list[int] = []

    def task(number: int) -> None:
        gate.acquire(number)
        served.append(number)
        gevent.sleep(0)
        gate.release(number)

    gevent.joinall([gevent.spawn(task, number) for number in range(20)])

    assert list(range(20)) == served
    assert 0 == gate.used


def test_a_greenlet_killed_after_its_grant_passes_the_place_on() -> None:
    """
    The place of a task that was granted one and never woke up is not lost.
    """
    gate = Gate(1, 1, 5.0)
    gate.acquire(1)
    victim, heir = gevent.spawn(gate.acquire, 2), gevent.spawn(gate.acquire, 3)
    gevent.sleep(0)
    # The kill is queued in the loop before the wake-up, so it arrives first.
    victim.kill(block=False)
    gate.release(1)
    heir.join(1)

    assert heir.successful()
    assert 1 == gate.used


def test_a_greenlet_killed_in_the_queue_leaves_it() -> None:
    """
    Nobody is served who has gone.
    """
    gate = Gate(1, 1, 5.0)
    gate.acquire(1)
    victim = gevent.spawn(gate.acquire, 2)
    gevent.sleep(0)
    victim.kill()

    assert 0 == gate.waiting


@pytest.mark.parametrize(("limit", "each"), [(2, 2), (3, 3), (5, 3), (20, 4)])
def test_greenlets_that_need_several_places_all_end(limit: int, each: int) -> None:
    """
    However they interleave, no set of tasks locks itself up, and none passes the limit.
    """
    gate = Gate(limit, each, 5.0)
    most = 0

    def task(number: int) -> None:
        nonlocal most
        for _ in range(each):
            gate.acquire(number)
            most = max(most, gate.used)
            gevent.sleep(0)
        for _ in range(each):
            gate.release(number)
            gevent.sleep(0)

    tasks = [gevent.spawn(task, number) for number in range(50)]
    gevent.joinall(tasks)

    assert all(each_task.successful() for each_task in tasks)
    assert 0 == gate.used
    assert most <= limit


def test_a_wait_without_progress_ends() -> None:
    """
    The error tells how many places there are and how long none came back.
    """
    gate = Gate(1, 1, 0.05)
    gate.acquire(1)

    with pytest.raises(NoPlaceError, match=r"all 1 connections .* 0\.05 seconds"):
        gate.acquire(2)
