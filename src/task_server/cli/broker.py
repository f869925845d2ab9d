"""The project's broker, for commands that look into it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from task_server.cli.joined import use_up
from task_server.cli.options import resolved
from task_server.errors import ConfigError, PeerError, Problem, TaskServerError
from task_server.peers.redis import address, explain_redis_error
from task_server.project.load import connecting_app
from task_server.transport.store.keys import Keys


@contextmanager
def broker(
    app: str | None, path: Path | None, timeout: float | None = None
) -> Iterator[tuple[Any, Keys]]:
    """
    Connect to the broker as the project's workers do.

    Args:
        timeout: Seconds for a connection, and again for each answer; None leaves it to
            the project's settings.

    Returns:
        A client that adds no prefix, and the complete keys.

    Raises:
        TaskServerError: When the broker is no Redis, does not answer, or refuses.
    """
    use_up(os.environ)
    with broker_of(connecting_app(resolved(path, app=app).config), timeout) as found:
        yield found


@contextmanager
def broker_of(project: Any, timeout: float | None = None) -> Iterator[tuple[Any, Keys]]:
    """Connect to the broker of *project*, an app that connects as its workers do; as `broker`."""
    with channel_of(project, timeout) as channel:
        from redis import Redis  # noqa: PLC0415 - heavy, like the rest

        # With complete keys: the channel's own client prefixes only some commands.
        yield Redis(connection_pool=channel.pool), Keys.of(channel)


@contextmanager
def channel_of(project: Any, timeout: float | None = None) -> Iterator[Any]:
    """Open a channel to the broker of *project*; as `broker_of`."""
    from redis import exceptions  # noqa: PLC0415 - heavy, like the rest

    given = project.conf.broker_write_url or ""
    url = ";".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    try:
        bounds = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        options = {"transport_options": bounds} if timeout else {}
        connection = project.connection_for_write(**options)
        # Not `connection.connect()`, which retries for seconds.
        channel = connection.transport.create_channel(connection.transport)
    except ValueError as error:
        # For a malformed URL; the message may contain the password.
        message = f"{address(url)} is not a valid Redis URL (host, port, database)"
        raise ConfigError([Problem("broker_url", message)]) from error
    except (exceptions.RedisError, OSError) as error:
        raise _redis_error(url, error) from error
    with connection:
        if not hasattr(channel, "unacked_key"):
            raise TaskServerError(f"The broker {connection.as_uri()} is not a Redis.")
        try:
            yield channel
        except (exceptions.RedisError, OSError) as error:
            raise _redis_error(url, error) from error


def _redis_error(url: str, error: Exception) -> TaskServerError:
    """Return our error for *error*, which a client of the Redis at *url* raised."""
    found = explain_redis_error("broker_url", url, error)
    if found.peer:
        return PeerError(found.text)
    return ConfigError([Problem(found.setting, found.text)])
