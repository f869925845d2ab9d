"""How long Redis keeps others waiting: a PING every two milliseconds, beside the work."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import redis

from tests.support.redis import Broker

PAUSE = 0.002


@dataclass
class Longest:
    """The longest wait for an answer, in seconds."""

    longest: float = 0.0


@contextmanager
def pings(broker: Broker) -> Iterator[Longest]:
    """Ask while the context lasts."""
    found, end = Longest(), threading.Event()

    def ask(client: redis.Redis) -> None:
        while not end.wait(PAUSE):
            start = time.monotonic()
            client.ping()
            found.longest = max(found.longest, time.monotonic() - start)

    with closing(redis.Redis(unix_socket_path=str(broker.server.path))) as client:
        client.ping()
        thread = threading.Thread(target=ask, args=(client,))
        thread.start()
        try:
            yield found
        finally:
            end.set()
            thread.join()
