"""How long Redis keeps others waiting: a PING every two milliseconds, beside the work."""

import threading
import time
from types import TracebackType
from typing import Self

import redis

from tests.support.redis import Broker

PAUSE = 0.002


class Pings:
    """A thread that asks while its context lasts; *longest* is in seconds."""

    def __init__(self, broker: Broker) -> None:
        self.longest = 0.0
        self._client = redis.Redis(unix_socket_path=str(broker.server.path))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._end.wait(PAUSE):
            start = time.monotonic()
            self._client.ping()
            self.longest = max(self.longest, time.monotonic() - start)

    def __enter__(self) -> Self:
        self._client.ping()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        self._client.close()
