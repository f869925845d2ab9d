"""The start of a marked message's task is reported, without waiting for the reply."""

import os
import signal

import pytest

from task_server.transport.started import crashes, reporter
from task_server.transport.store import owner
from task_server.transport.store.keys import Keys
from tests.integration.transport.peers import user
from tests.support.wait import until


def reported(server) -> set[bytes]:
    """Return the delivery tags that were reported to the server."""
    members: set[bytes] = server.client().smembers(Keys().started(owner.RUN_ID))
    return members - {crashes.COMPLETE.encode()}


def test_each_start_is_reported(worker, server) -> None:
    """
    All starts arrive, on one connection more, which goes with the channel.
    """
    consumer = worker(max_connections=2)
    consumer.idle()
    before = len(server.client().client_list())
    for number in range(200):
        consumer.channel.qos.reporter.start(str(number))
    until(lambda: len(reported(server)) == 200, "all starts")
    assert before + 1 == len(server.client().client_list())
    assert server.client().ttl(Keys().started(owner.RUN_ID)) > reporter.KEPT_SECONDS - 60
    consumer.close()
    until(lambda: len(server.client().client_list()) < before, "the end of the connections")


def test_after_a_lost_connection_the_next_start_is_reported(worker, server) -> None:
    """
    A connection that the server has cut is made again.
    """
    consumer = worker()
    consumer.channel.qos.reporter.start("first")
    until(lambda: reported(server) == {b"first"}, "the first")
    server.client().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def heard() -> bool:
        # What is sent before this side has seen the end is lost.
        consumer.channel.qos.reporter.start("second")
        return b"second" in reported(server)

    until(heard, "the second")


def test_where_silence_is_denied_it_is_waited_for(worker, server) -> None:
    """
    For a user who may not use CLIENT REPLY starts are reported all the same.
    """
    with user(server, "~*", "&*", "+@all", "-client|reply") as url:
        consumer = worker(url=url)
        for tag in ("one", "two"):
            consumer.channel.qos.reporter.start(tag)
        assert {b"one", b"two"} == reported(server)
        consumer.close()


@pytest.mark.parametrize("times", [1, 50])
def test_the_start_in_a_process_that_dies_at_once_is_reported(times: int, worker, server) -> None:
    """
    What was sent arrives, though the process is killed right after it.
    """
    pid = os.fork()
    if pid == 0:
        consumer = worker()
        for number in range(times):
            consumer.channel.qos.reporter.start(str(number))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    until(lambda: len(reported(server)) == times, "the starts")
