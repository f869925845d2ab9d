"""All ways to a server: sockets, users, certificates, prefixes, Sentinel."""

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis

from task_server.transport.store.keys import Keys
from task_server.transport.store.owner import RUN_ID
from tests.integration.transport.peers import Started, user
from tests.support.wait import until


def renews(consumer: Any, publish: Callable[..., None], **options: Any) -> None:
    """Assert that the thread of *consumer* renews the lease of what it holds, the same way."""
    count = len(consumer.bodies)
    consumer.acknowledges = False
    publish("held", **options)
    consumer.run(lambda: len(consumer.bodies) > count)
    lease = consumer.channel.pending.lease
    for _ in range(2):
        renewed = lease.renewed
        until(lambda renewed=renewed: lease.renewed > renewed, "a renewal")
        assert lease.error is None
    assert consumer.messages[-1].delivery_tag in lease.tags()
    consumer.messages[-1].ack()


def test_a_unix_socket_with_a_password(worker, publish, start_redis) -> None:
    """
    `redis+socket://` with a password works.
    """
    own = start_redis("--requirepass", "secret")
    url = f"redis+socket://:secret@{own.path}"
    consumer = worker(url=url, lease_seconds=2)
    publish("one", url=url)
    consumer.run(lambda: consumer.bodies)
    consumer.idle()

    assert ["one"] == consumer.bodies
    renews(consumer, publish, url=url)


def test_a_user_who_may_use_its_own_keys_only(worker, publish, server) -> None:
    """
    A user with access to the keys that Kombu uses needs no more for this transport.
    """
    rules = ("~q*", "~unacked*", "~_kombu*", "resetchannels", "+@all")
    with user(server, *rules) as url:
        consumer = worker(url=url, lease_seconds=2)
        consumer.idle()
        publish("one", priority=3)
        consumer.run(lambda: consumer.bodies)
        consumer.idle()
        renews(consumer, publish)
        consumer.close()

    assert ["one", "held"] == consumer.bodies


def test_a_prefix_of_all_keys(worker, publish, server) -> None:
    """
    With `global_keyprefix` every key on the server begins with it, also those of this transport.
    """
    options = {"visibility_timeout": 2, "unacked_restore_interval": 0.5, "lease_seconds": 2}
    consumer = worker(global_keyprefix="site-", **options)
    consumer.acknowledges = False
    for number in range(3):
        publish(number, priority=3, global_keyprefix="site-")
    consumer.run(lambda: len(consumer.bodies) == 3)
    consumer.messages[0].ack()
    consumer.messages[1].requeue()
    consumer.run(lambda: len(consumer.bodies) == 4)
    consumer.idle()

    assert [0, 1, 2, 1] == consumer.bodies
    assert 2 == server.client().hlen("site-unacked")
    renews(consumer, publish, global_keyprefix="site-")
    assert [] == [key for key in server.client().scan_iter() if not key.startswith(b"site-")]


def test_another_database(worker, publish, server) -> None:
    """
    The number of the database in the URL holds for every connection.
    """
    url = f"redis://127.0.0.1:{server.port}/5"
    consumer = worker(url=url)
    consumer.idle()
    publish("one", url=url)
    consumer.run(lambda: consumer.bodies)

    assert ["one"] == consumer.bodies
    assert 0 == server.client(db=0).dbsize()


def test_a_queue_that_expires_keeps_its_time(worker, connect, server) -> None:
    """
    Fetching does not take the time to live from a queue with `x-expires`.
    """
    queue = kombu.Queue("short", routing_key="short", expires=60)
    with connect() as connection:
        producer = kombu.Producer(connection)
        for number in range(3):
            producer.publish(number, routing_key="short", declare=[queue], serializer="json")
    if server.client().pttl("short") < 0:
        pytest.skip(f"Kombu {kombu.__version__} gives queues no time to live")
    consumer = worker("short", limit=1)
    consumer.acknowledges = False
    consumer.run(lambda: consumer.bodies)

    assert 0 < server.client().pttl("short") <= 60_000


@pytest.fixture(scope="session")
def certificates(require, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an authority, and certificates of a server and a client."""
    folder = tmp_path_factory.mktemp("certificates")
    if shutil.which("openssl") is None:
        require("openssl", "it is not on PATH")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(*new, "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        sign = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key")
        openssl(*sign, "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.crt")
    return folder


def test_tls_with_certificates_of_both_sides(worker, publish, tls_port, certificates) -> None:
    """
    `rediss://` works, the server asking for the worker's certificate.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.crt")
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    port = tls_port(context)
    query = (
        f"ssl_cert_reqs=required&ssl_ca_certs={certificates / 'ca.crt'}"
        f"&ssl_certfile={certificates / 'client.crt'}&ssl_keyfile={certificates / 'client.key'}"
    )
    url = f"rediss://127.0.0.1:{port}/0?{query}"
    consumer = worker(url=url, lease_seconds=2)
    consumer.idle()
    for number in range(3):
        publish(number, url=url)
        consumer.run(lambda number=number: len(consumer.bodies) == number + 1)
        consumer.idle()

    assert [0, 1, 2] == consumer.bodies
    assert isinstance(consumer.channel.fetcher.idle.listener.client.connection._sock, ssl.SSLSocket)
    renews(consumer, publish, url=url)


def test_sentinel(worker, publish, start_redis, tmp_path: Path) -> None:
    """
    With `sentinel://` a worker finds the server that Sentinel names.
    """
    own: Started = start_redis()
    settings = tmp_path / "sentinel.conf"
    settings.write_text(f"sentinel monitor main 127.0.0.1 {own.port} 1\n")
    watch: Started = start_redis("--sentinel", settings=settings)
    sentinel = redis.Redis(port=watch.port)
    until(lambda: sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"), "it")
    url = f"sentinel://127.0.0.1:{watch.port}/0"
    consumer = worker(url=url, master_name="main", lease_seconds=2)
    consumer.idle()
    publish("one", url=url, master_name="main")
    consumer.run(lambda: consumer.bodies)
    consumer.idle()
    consumer.channel.qos.reporter.start("one")
    until(lambda: b"one" in own.client().smembers(Keys().started(RUN_ID)), "the begin")

    assert ["one"] == consumer.bodies
    assert "SentinelChannel" == type(consumer.channel).__name__
    renews(consumer, publish, url=url, master_name="main")
