"""Calls from a thread of the system into the thread of gevent's loop."""

import gevent
import pytest
from gevent import monkey

from task_server.worker.database.loop_thread import LoopThread

get_ident = monkey.get_original("_thread", "get_ident")


def test_a_call_runs_in_the_thread_of_the_loop() -> None:
    """
    The calling thread gets the result, and knows that it is another one.
    """
    loop_thread = LoopThread()

    def elsewhere() -> tuple[bool, int]:
        return loop_thread.is_current(), loop_thread.run(get_ident)

    found = gevent.get_hub().threadpool.apply(elsewhere)

    assert (False, get_ident()) == found
    assert loop_thread.is_current()


def test_the_calling_thread_gets_the_error() -> None:
    """
    What the call raises is raised in the thread that waits for it.
    """
    loop_thread = LoopThread()

    with pytest.raises(ZeroDivisionError):
        gevent.get_hub().threadpool.apply(loop_thread.run, (divmod, 1, 0))
