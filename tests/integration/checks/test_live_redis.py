"""The live rules, each on a Redis that is so."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from celery import Celery

from task_server.checks import Context, ProjectFacts
from task_server.checks.live.redis import broker
from task_server.config.model import Config
from task_server.errors import Finding
from task_server.launch.precedence import worker_spec
from task_server.launch.profiles import Machine
from tests.integration.checks.conftest import StartRedis
from tests.support.ports import own_port


def findings(url: str, *, timeout: float = 5.0, count: int = 1, **settings: Any) -> list[Finding]:
    """Return what is found at *url*, for *count* of each built-in worker with two children."""
    app = Celery("check", broker=url, set_as_current=False)
    app.conf.update(settings)
    config = Config()
    machine = Machine(cores=2.0, memory=None)
    names = ("prefork", "gevent")
    context = Context(
        config=config,
        workers={name: worker_spec(config, name, machine) for name in names},
        counts=dict.fromkeys(names, count),
        facts=ProjectFacts(),
    )
    try:
        return list(broker(context, app, timeout))
    finally:
        app.close()


def of(found: list[Finding], setting: str) -> Finding:
    (one,) = [finding for finding in found if finding.setting == setting]
    return one


def test_a_right_redis_is_ok(redis_server) -> None:
    """
    The Redis that task-server starts itself has nothing to complain about.
    """
    found = findings(redis_server.url)

    assert {
        "broker": "ok",
        "broker maxmemory-policy": "ok",
        "broker maxmemory": "info",
        "broker persistence": "ok",
        "broker maxclients": "ok",
    } == {one.setting: one.level for one in found}
    assert "redis.sock" in of(found, "broker").message


def test_every_problem_of_a_server_is_reported(start_redis: StartRedis) -> None:
    """
    A Redis set up as a cache is wrong in each way, and each line has its repair.
    """
    options = ("--maxmemory-policy", "allkeys-lru", "--appendonly", "no", "--maxclients", "90")
    port = start_redis(*options, "--maxmemory", "100mb")

    found = findings(f"redis://127.0.0.1:{port}/0")

    assert ("error", "run `redis-cli config set maxmemory-policy noeviction`") == (
        of(found, "broker maxmemory-policy").level,
        of(found, "broker maxmemory-policy").repair.split(", set it")[0],
    )
    assert "warning" == of(found, "broker persistence").level
    assert "all tasks are lost" in of(found, "broker persistence").message
    assert "error" == of(found, "broker maxclients").level
    assert "1 x prefork with 15, 1 x gevent with 85" in of(found, "broker maxclients").message
    assert "ok" == of(found, "broker maxmemory").level


def test_snapshots_without_an_append_only_file_lose_less(start_redis: StartRedis) -> None:
    """
    With `save` only the tasks since the last snapshot are lost.
    """
    port = start_redis("--appendonly", "no", "--save", "60 1000")

    found = findings(f"redis://127.0.0.1:{port}/0")

    assert "the tasks since its last snapshot are lost" in of(found, "broker persistence").message


def test_a_full_redis_is_an_error_and_a_nearly_full_one_a_warning(start_redis: StartRedis) -> None:
    """
    Used memory is compared with maxmemory before Redis rejects tasks, and when it does.
    """
    port = start_redis()
    url = f"redis://127.0.0.1:{port}/0"
    with redis.Redis.from_url(url) as client:
        # So much that what connections take does not count.
        client.set("tasks", b"x" * 2**25)
    with redis.Redis.from_url(url) as client:
        # The buffer of the connection that sent it is given back a little later.
        while (used := client.info("memory")["used_memory"]) > 1.5 * 2**25:
            client.ping()
        client.config_set("maxmemory", int(used / 0.95))
        nearly = of(findings(url), "broker maxmemory")
        client.config_set("maxmemory", used // 2)
        full = of(findings(url), "broker maxmemory")

    assert ("warning", "error") == (nearly.level, full.level)
    assert "rejects new tasks" in full.message


def test_a_replica_is_no_broker(start_redis: StartRedis) -> None:
    """
    A broker that rejects writes is reported as a replica.
    """
    port = start_redis()
    url = f"redis://127.0.0.1:{port}/0"
    with redis.Redis.from_url(url) as client:
        client.replicaof("127.0.0.1", str(own_port()))

    found = findings(url)

    assert "is a read-only replica" in of(found, "broker role").message


def test_another_result_backend_is_inspected(redis_server, start_redis: StartRedis) -> None:
    """
    A backend that evicts loses results; the broker's own Redis is not reported twice.
    """
    port = start_redis("--maxmemory-policy", "allkeys-lru")

    apart = findings(redis_server.url, result_backend=f"redis://127.0.0.1:{port}/1")
    same = findings(f"redis://127.0.0.1:{port}/0", result_backend=f"redis://127.0.0.1:{port}/1")

    assert ["ok", "warning"] == [one.level for one in apart if one.setting == "result backend"]
    assert [] == [one for one in same if one.setting == "result backend"]


PASSWORDS = [
    ("redis://:wrong@127.0.0.1:{port}/0", "refuses the user or the password"),
    ("redis://127.0.0.1:{port}/0", "wants a password, and the URL has none"),
    ("redis://nobody:secret@127.0.0.1:{port}/0", "refuses the user or the password"),
]


@pytest.mark.parametrize(("url", "words"), PASSWORDS)
def test_a_wrong_password_is_the_configuration(
    start_redis: StartRedis, url: str, words: str
) -> None:
    """
    A rejected password is reported as such, with the address, without the password; exit 78.
    """
    port = start_redis("--requirepass", "secret")

    (found,) = findings(url.format(port=port))

    assert words in found.message
    assert f"127.0.0.1:{port}" in found.message
    assert ("error", False) == (found.level, found.peer)
    assert "wrong" not in str(found)


def test_the_right_password_and_a_number_too_large(start_redis: StartRedis) -> None:
    """
    With the password everything is checked; a missing database is reported.
    """
    port = start_redis("--requirepass", "secret")

    right = findings(f"redis://:secret@127.0.0.1:{port}/0")
    (number,) = findings(f"redis://:secret@127.0.0.1:{port}/99")

    assert "ok" == of(right, "broker").level
    assert "has no database with the number" in number.message
    assert not number.peer


def test_a_user_without_the_right_to_inspect_is_named(start_redis: StartRedis) -> None:
    """
    An ACL without INFO gives the line of Redis, not a crash.
    """
    port = start_redis()
    with redis.Redis(port=port) as client:
        client.acl_setuser("app", enabled=True, passwords=["+pw"], keys=["*"], commands=["+ping"])

    (found,) = findings(f"redis://app:pw@127.0.0.1:{port}/0")

    assert "denies this user a command" in found.message
    assert ("error", False) == (found.level, found.peer)


def test_without_config_the_rest_is_reported(start_redis: StartRedis) -> None:
    """
    Where CONFIG is forbidden, as in managed services, INFO has to do.
    """
    port = start_redis()
    with redis.Redis(port=port) as client:
        client.acl_setuser(
            "app", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-config"]
        )

    found = findings(f"redis://app:pw@127.0.0.1:{port}/0")

    assert {"ok", "info"} == {one.level for one in found}


def test_no_server_listens(tmp_path) -> None:
    """
    A refused connection, a name and a socket that do not exist are three different lines; exit 69.
    """
    port = own_port()
    path = tmp_path / "no.sock"
    cases = {
        f"redis://127.0.0.1:{port}/0": f"nothing listens at 127.0.0.1:{port}",
        f"redis+socket://{path}?virtual_host=0": f"there is no socket {path}",
        "redis://no-such-host.invalid:6379/0": "no-such-host.invalid:6379 does not resolve",
    }

    found = {url: findings(url) for url in cases}

    for url, words in cases.items():
        (one,) = found[url]
        assert words in one.message
        assert ("error", True) == (one.level, one.peer)


def test_a_silent_server_is_given_up_in_time() -> None:
    """
    What accepts and never answers costs the time given, not forever.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (found,) = findings(f"redis://127.0.0.1:{port}/0", timeout=0.3)

    assert f"no answer from 127.0.0.1:{port} in time" == found.message
    assert found.peer


def test_tls_where_there_is_none(start_redis: StartRedis) -> None:
    """
    A Redis without TLS keeps a client that speaks it waiting, so redis:// is the hint.
    """
    port = start_redis()

    (found,) = findings(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none", timeout=0.3)

    assert f"no answer from 127.0.0.1:{port} in time" == found.message
    assert found.repair.startswith("use redis:// if it has no TLS")


@contextmanager
def tls_server() -> Iterator[int]:
    """Yield the port of a server that wants TLS, and has no certificate to go on with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                while True:
                    peer, _ = server.accept()
                    with peer:
                        try:
                            context.wrap_socket(peer, server_side=True).close()
                        except OSError:
                            continue
            except OSError:
                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_no_tls_where_it_is_wanted() -> None:
    """
    redis:// to a port that wants TLS gives the hint to use rediss://.
    """
    with tls_server() as port:
        (found,) = findings(f"redis://127.0.0.1:{port}/0", timeout=60)

    assert "rediss://" in found.repair
    assert f"127.0.0.1:{port}" in found.message


def test_too_many_clients_is_not_a_wrong_url(start_redis: StartRedis) -> None:
    """
    A Redis that has as many clients as it may have says so.
    """
    port = start_redis("--maxclients", "2")
    holders = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    try:
        (found,) = findings(f"redis://127.0.0.1:{port}/0", timeout=60)
    finally:
        for holder in holders:
            holder.close()

    assert "maxclients" in found.message
    assert found.peer


def test_another_broker_is_not_asked() -> None:
    """
    A broker that is not Redis has its offline line, and no live one.
    """
    assert [] == findings("amqp://guest@127.0.0.1:1//")
