"""A Redis of its own for tests that need more than a unix socket, and connections to it."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import kombu
import pytest

from task_server import transport
from task_server.errors import LocalServerError
from task_server.transport.unacked import pending
from tests.integration.transport.peers import Started, Worker, relay
from tests.support.redis import Redis


@pytest.fixture(scope="session")
def start_redis(require) -> Iterator[Callable[..., Started]]:
    """Start a server with the given options, on a free port and a unix socket."""
    with ExitStack() as stack:

        def start(*options: str, settings: Path | None = None) -> Started:
            # Short, for the path of a unix socket.
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="transport-")))
            server = Redis(folder, *options, settings=settings, patience=None)
            stack.callback(server.stop)
            try:
                return Started(server.start())
            except LocalServerError as error:
                require("redis", str(error))

        yield start


@pytest.fixture(scope="session")
def shared_server(start_redis: Callable[..., Started]) -> Started:
    """Return a server for all tests that need nothing special."""
    return start_redis()


@pytest.fixture
def server(shared_server: Started) -> Started:
    """Return an empty server."""
    shared_server.client().flushall()
    return shared_server


@pytest.fixture(autouse=True)
def atomic() -> Iterator[None]:
    """Use the transport in this process."""
    assert transport.install()
    yield
    transport.uninstall()
    # What this process has reported, or has pending, is of a server that gets emptied.
    pending.forget_all()


@pytest.fixture
def connect(server: Started) -> Iterator[Callable[..., kombu.Connection]]:
    """Open connections to the server, and close them in the end."""
    opened: list[kombu.Connection] = []

    def connection(url: str = "", **options: Any) -> kombu.Connection:
        made = kombu.Connection(url or f"redis+socket://{server.path}", transport_options=options)
        opened.append(made)
        return made

    yield connection
    for made in opened:
        made.release()


@pytest.fixture
def tls_port(server: Started) -> Iterator[Callable[[ssl.SSLContext], int]]:
    """Offer the server under TLS; the wheels' server is built without."""
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[Thread] = []
    sockets = [listening]

    def accept(context: ssl.SSLContext) -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            with suppress(OSError):
                outside = context.wrap_socket(plain, server_side=True)
                inside = socket.socket(socket.AF_UNIX)
                sockets.extend((outside, inside))
                inside.connect(str(server.path))
                for pair in ((outside, inside), (inside, outside)):
                    threads.append(Thread(target=relay, args=pair, daemon=True))
                    threads[-1].start()

    def serve(context: ssl.SSLContext) -> int:
        threads.append(Thread(target=accept, args=[context], daemon=True))
        threads[-1].start()
        return int(listening.getsockname()[1])

    yield serve
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)
    for each in sockets:
        each.close()


@pytest.fixture(params=["drain_events", "hub"])
def loop(request: pytest.FixtureRequest) -> str:
    """Each test of a worker runs in both loops: gevent's, and prefork's."""
    return str(request.param)


@pytest.fixture
def worker(connect: Callable[..., kombu.Connection], loop: str) -> Iterator[Callable[..., Worker]]:
    """Make workers, and close them in the end."""
    made: list[Worker] = []

    def make(*queues: str, limit: int = 10, url: str = "", **options: Any) -> Worker:
        made.append(Worker(connect(url, **options), list(queues) or ["q"], loop, limit))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def publish(connect: Callable[..., kombu.Connection]) -> Callable[..., None]:
    """Publish with Kombu's own transport."""

    def send(
        body: Any,
        queue: str = "q",
        priority: int = 0,
        headers: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        transport.uninstall()
        try:
            with connect(**options) as connection:
                producer = kombu.Producer(connection)
                producer.publish(
                    body,
                    routing_key=queue,
                    priority=priority,
                    headers=headers,
                    serializer="json",
                    declare=[kombu.Queue(queue, routing_key=queue)],
                )
        finally:
            transport.install()

    return send
