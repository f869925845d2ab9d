"""A server, a worker and their waiting, for the tests of the transport."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis
from kombu.asynchronous.hub import Hub

from tests.support.redis import Redis
from tests.support.wait import PATIENCE


@dataclass(frozen=True)
class Started:
    """A server that runs; each `client` has connections of its own."""

    server: Redis

    @property
    def path(self) -> Path:
        return self.server.path

    @property
    def port(self) -> int:
        return self.server.port

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.path), **options)


@contextmanager
def user(server: Started, *rules: str) -> Iterator[str]:
    """Have a user with these access rules, and return the URL by which it connects."""
    client = server.client()
    try:
        client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", *rules)
    except redis.ResponseError as error:
        # Before 7.0 a subcommand cannot be denied alone, nor be missed.
        pytest.skip(str(error))
    try:
        yield f"redis://limited:secret@127.0.0.1:{server.port}/0"
    finally:
        client.execute_command("ACL", "DELUSER", "limited")


def relay(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what arrives, until one side ends."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Worker:
    """A consumer in one of the two loops in which Celery runs Kombu."""

    def __init__(
        self, connection: kombu.Connection, queues: list[str], loop: str, limit: int
    ) -> None:
        self.connection = connection
        self.hub = Hub() if loop == "hub" else None
        self.bodies: list[Any] = []
        self.messages: list[Any] = []
        self.consumer = kombu.Consumer(
            connection.channel(),
            [kombu.Queue(name, routing_key=name) for name in queues],
            prefetch_count=limit,
            callbacks=[self._receive],
            accept=["json"],
        )
        self.channel: Any = self.consumer.channel
        self.acknowledges = True
        self.consumer.consume()
        if self.hub is not None:
            connection.register_with_event_loop(self.hub)

    def _receive(self, body: Any, message: Any) -> None:
        self.bodies.append(body)
        self.messages.append(message)
        if self.acknowledges:
            message.ack()

    def turn(self) -> None:
        """Run the loop once, for a second at most."""
        if self.hub is not None:
            self.hub.run_once()
        else:
            with suppress(TimeoutError):
                self.connection.drain_events(timeout=0.05)

    def readable(self) -> bool:
        """Return whether a turn would find something to read."""
        for callback in () if self.hub is None else list(self.hub.on_tick):
            callback()
        # The poller is the hub's where there is one.
        return bool(self.connection.transport.cycle.poller.poll(0))

    def run(
        self, fact: Callable[[], Any], what: str = "the messages", seconds: float = PATIENCE
    ) -> None:
        """Run the loop until *fact* holds."""
        end = time.monotonic() + seconds
        while not fact():
            assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}: {self.bodies}"
            self.turn()

    def idle(self) -> None:
        """Run the loop until nothing is left to be asked."""
        self.run(lambda: not self.channel.fetcher.idle.fetch_due, "the worker to be idle")

    def close(self) -> None:
        if self.hub is not None:
            self.hub.close()
        self.connection.release()
