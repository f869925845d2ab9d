"""
A connection that leaves a primary which became a replica.

Such a server lives on, with all its connections, and answers READONLY to all
that writes. To redis-py that is an error of the command; the connection stays,
and is taken for the next command, for as long as the process lives. The
address leads to the new primary by then, or soon. So here it is an error of
the connection: whoever used it does what is to be done when Redis is gone, and
connects again. Only redis-py's connections through Sentinel do that by themselves.
"""

from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError

#: How a server says so in other ways: Redis 6.2 of a command in a script, and
#: each version to those who wait for a list when it is demoted.
OTHER_WORDS: Final = ("-READONLY ", "UNBLOCKED force")


class DemotedError(RedisConnectionError):  # type: ignore[misc, unused-ignore]
    """The server is a primary no longer; the command has changed nothing."""


def leaving(connection_class: Any) -> Any:
    """Return *connection_class* with a `read_response` that leaves a replica."""

    class Connection(connection_class):  # type: ignore[misc]
        def read_response(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().read_response(*args, **kwargs)
            except ResponseError as error:
                if not _is_replica(error):
                    raise
                self.disconnect()
                raise DemotedError(f"this Redis is a replica now: {error}") from error

    return Connection


def _is_replica(error: ResponseError) -> bool:
    if isinstance(error, ReadOnlyError | MasterDownError):
        return True
    return any(words in str(error) for words in OTHER_WORDS)
