"""
A failover: a connection that leaves a primary which became a replica.

Such a server lives on, with all its connections, and answers READONLY to all
writes. To redis-py that is an error of the command; the connection stays, and is
used for the next command, for as long as the process lives. The address leads to
the new primary by then, or soon. So here it is an error of the connection: its
user treats it as any lost connection, and connects again. In redis-py only
connections through Sentinel do that.
"""

from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError

#: How a server says so in other ways: Redis 6.2 of a command in a script, and
#: each version to clients that wait for a list when it is demoted.
OTHER_WORDS: Final = ("-READONLY ", "UNBLOCKED force")


class FailoverError(RedisConnectionError):  # type: ignore[misc, unused-ignore]
    """The server is no longer a primary; the command has changed nothing."""


def reconnecting(connection_class: Any) -> Any:
    """Return *connection_class* with a `read_response` that leaves a replica."""

    class Connection(connection_class):  # type: ignore[misc]
        def read_response(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().read_response(*args, **kwargs)
            except ResponseError as error:
                if not _is_replica(error):
                    raise
                self.disconnect()
                raise FailoverError(f"this Redis is a replica now: {error}") from error

    return Connection


def _is_replica(error: ResponseError) -> bool:
    if isinstance(error, ReadOnlyError | MasterDownError):
        return True
    return any(words in str(error) for words in OTHER_WORDS)
