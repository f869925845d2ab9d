"""The Redis of one channel: its keys, and the one client for them."""

from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from task_server.transport.store.keys import Keys
from task_server.transport.store.problems import Problems


class Store:
    """
    What one channel keeps in Redis, and how it is reached.

    Args:
        keys: The complete keys.

        pool: Returns the channel's pool of connections, which may change.

    Attributes:
        connection_errors: What is raised when the server is gone.

        problems: What this channel does without, or cannot read.
    """

    def __init__(
        self,
        keys: Keys,
        pool: Callable[[], Any],
        connection_errors: tuple[type[Exception], ...],
    ) -> None:
        self.keys = keys
        self.problems = Problems()
        self.connection_errors = connection_errors
        self._pool = pool
        self._client: Any = None

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What is raised when the server is gone, or refuses."""
        return (*self.connection_errors, ResponseError)

    @property
    def server_errors(self) -> tuple[type[Exception], ...]:
        """The same, but KeyError, which is one of the server's to Kombu only."""
        return tuple(each for each in self.errors if each is not KeyError)

    @property
    def client(self) -> Any:
        """
        A client that takes complete keys; Kombu's adds the prefix to some commands only.

        It is kept: Kombu makes one for each operation, which costs more than
        the operation.
        """
        pool = self._pool()
        if self._client is None or self._client.connection_pool is not pool:
            self._client = Redis(connection_pool=pool)
        return self._client
