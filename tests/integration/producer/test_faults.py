"""What goes wrong between a send and Redis ends as with Celery, and the next send is good."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from redis import connection

from tests.support.redis import Redis
from tests.support.wait import until

#: Retries as Celery does, sooner.
POLICY = {"max_retries": 2, "interval_start": 0, "interval_step": 0, "interval_max": 0}

SETTINGS: dict[str, Any] = {
    "task_publish_retry_policy": POLICY,
    "broker_transport_options": {"socket_timeout": 1, "socket_connect_timeout": 1},
}


def ids(server: Redis) -> list[str]:
    """Return the ids of the messages that wait, the first one first."""
    texts = server.client.lrange("celery", 0, -1)[::-1]
    return [json.loads(text)["headers"]["id"] for text in texts]


def error_of(app: Celery) -> tuple[type, str] | None:
    """Return what a send raises."""
    try:
        app.tasks["noop"].delay()
    except Exception as error:  # noqa: BLE001 - it is compared
        # The port and the address of an object are each server's own.
        return type(error), str(error)[:20]
    return None


FAULTS: dict[str, tuple[Callable[[Redis], Any], Callable[[Redis], Any]]] = {
    "away": (Redis.kill, Redis.start),
    "stopped": (
        lambda server: server.signal(signal.SIGSTOP),
        lambda server: server.signal(signal.SIGCONT),
    ),
    "password": (
        lambda server: server.client.config_set("requirepass", "secret"),
        lambda server: server.client.execute_command("CONFIG", "SET", "requirepass", ""),
    ),
    "replica": (
        lambda server: server.client.replicaof("127.0.0.1", 1),
        lambda server: server.client.replicaof("NO", "ONE"),
    ),
    "memory": (
        lambda server: server.client.config_set("maxmemory", "1"),
        lambda server: server.client.config_set("maxmemory", "0"),
    ),
    "wrong type": (
        lambda server: (server.client.delete("celery"), server.client.set("celery", "x")),
        lambda server: server.client.delete("celery"),
    ),
}


@pytest.mark.parametrize("warm", [1, 3], ids=["second", "fourth"])
@pytest.mark.parametrize("retry", [True, False], ids=["retried", "once"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_raises_what_celery_raises_and_the_next_send_is_good(
    own_server: Redis, make: Callable[..., Celery], fault: str, warm: int, *, retry: bool
) -> None:
    """
    Every message that was reported as sent is there, once.
    """
    harm, mend = FAULTS[fault]
    settings = {**SETTINGS, "task_publish_retry": retry}
    apps = [make(own_server.url, ours=ours, **settings) for ours in (False, True)]
    # The third message of a task is pushed by its template.
    for app in apps * warm:
        app.tasks["noop"].delay()
    if fault == "password":
        # It is asked for when a connection is made.
        own_server.client.client_kill_filter(_type="normal", skipme=True)
    harm(own_server)
    if fault == "password":
        own_server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    expected, found = map(error_of, apps)
    mend(own_server)
    until(own_server.client.ping)
    own_server.client.delete("celery")
    sent = [apps[1].tasks["noop"].delay().id for _ in range(3)]

    assert expected is not None
    assert expected == found
    until(lambda: set(sent) <= set(ids(own_server)))
    assert sent == [each for each in ids(own_server) if each in sent]


def test_a_redis_that_restarts_between_two_sends_is_not_noticed(
    own_server: Redis, make: Callable[..., Celery]
) -> None:
    """
    Also without retries: a connection that is closed is seen before it is used.
    """
    app = make(own_server.url, **SETTINGS, task_publish_retry=False)
    sent = [app.tasks["noop"].delay().id for _ in range(4)]
    own_server.stop()
    own_server.start()

    sent.append(app.tasks["noop"].delay().id)

    assert sent == ids(own_server)


@pytest.mark.parametrize("warm", [1, 3], ids=["second", "fourth"])
def test_an_interrupt_leaves_no_answer_behind(
    server: Redis, make: Callable[..., Celery], monkeypatch: pytest.MonkeyPatch, warm: int
) -> None:
    """
    The connection whose answer nobody has read is closed; the next send has another.
    """
    app = make(server.url, **SETTINGS)
    for _ in range(warm):
        app.tasks["noop"].delay()
    read = connection.AbstractConnection.read_response

    def interrupted(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(connection.AbstractConnection, "read_response", interrupted)
    with pytest.raises(KeyboardInterrupt):
        app.tasks["noop"].delay()
    monkeypatch.setattr(connection.AbstractConnection, "read_response", read)

    sent = [app.tasks["noop"].delay().id for _ in range(3)]

    assert sent == ids(server)[-3:]


def test_threads_send_side_by_side(server: Redis, make: Callable[..., Celery]) -> None:
    """
    More of them than there are connections.
    """
    app = make(server.url, broker_pool_limit=3)
    noop = app.tasks["noop"]
    sent: list[str] = []

    def send() -> None:
        sent.extend(noop.delay().id for _ in range(50))

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(sent) == sorted(ids(server))
    assert 600 == len(sent)


def test_remote_control_does_not_wait_for_producers(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    It has connections of its own, also where there is one.
    """
    app = make(server.url, broker_pool_limit=1)
    app.tasks["noop"].delay()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [] == app.control.ping(timeout=0.1)
    app.tasks["noop"].delay()
    assert 2 == len(ids(server))


def child(noop: Any) -> int:
    """Send in a child; return its process id."""
    if process := os.fork():
        return process
    status = 1
    try:
        for _ in range(50):
            noop.delay()
        status = 0
    finally:
        os._exit(status)


def test_a_child_uses_no_connection_of_its_parent(
    server: Redis, make: Callable[..., Celery]
) -> None:
    """
    As under gunicorn with --preload: both send at once after the fork.
    """
    app = make(server.url)
    noop = app.tasks["noop"]
    noop.delay()
    with warnings.catch_warnings():
        # pytest's own threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        children = [child(noop) for _ in range(3)]
    for _ in range(50):
        noop.delay()

    assert [0, 0, 0] == [os.waitpid(process, 0)[1] for process in children]
    assert 201 == len(set(ids(server)))


def test_no_answer_within_the_retries_is_an_operational_error(
    own_server: Redis, make: Callable[..., Celery]
) -> None:
    """
    Each time, and the message that was not sent is not there afterwards.
    """
    app = make(own_server.url, **SETTINGS)
    own_server.kill()
    for _ in range(2):
        with pytest.raises(OperationalError):
            app.tasks["noop"].delay()
    own_server.start()

    sent = app.tasks["noop"].delay().id

    assert [sent] == ids(own_server)


GREENLETS = """
    from gevent import monkey
    monkey.patch_all()
    import sys
    import gevent
    from celery import Celery
    from task_server import producer

    app = Celery("one", broker=sys.argv[1], set_as_current=False)
    assert producer.install(app)

    @app.task(shared=False)
    def noop():
        pass

    def send():
        for _ in range(20):
            noop.delay()

    killed = [gevent.spawn(send) for _ in range(10)]
    jobs = [gevent.spawn(send) for _ in range(50)]
    gevent.sleep(0.001)
    gevent.killall(killed)
    gevent.joinall(jobs, raise_error=True)
    noop.delay()
    print("done")
"""


def test_greenlets_send_side_by_side(server: Redis) -> None:
    """
    Also when some are killed between a command and its answer.
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(GREENLETS), server.url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert "done" in found.stdout, found.stderr
    assert 50 * 20 + 1 <= len(set(ids(server)))
