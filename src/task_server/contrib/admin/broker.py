"""The broker that the project's web process sends to, asked within a moment."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from celery import _state as _celery_state
from celery.app.utils import find_app
from redis import Redis
from redis.exceptions import RedisError

from task_server.config.model import Config
from task_server.errors import TaskServerError
from task_server.peers.deadline import run_with_timeout
from task_server.peers.redis import address, explain_redis_error
from task_server.project.discovery import search
from task_server.project.queues import route_table
from task_server.transport.store.keys import Keys

#: Seconds for all that a page asks, and for one answer of Redis: somebody waits for the page.
SECONDS: Final = 1.8
TIMEOUT: Final = 1.0

#: Names the project's Celery app, as it does for workers.
VARIABLE: Final = "TASK_SERVER_APP"

#: Its type stubs know only the public names.
_state: Final[Any] = _celery_state

T = TypeVar("T")


class BrokerError(Exception):
    """Raised when the broker cannot be asked; its text says why, and what to do."""


def ask(work: Callable[[Any, Keys], T], seconds: float | None = None) -> T:
    """
    Return what *work* returns, given a client of the broker that adds no prefix and its keys.

    It has `SECONDS`, unless *seconds* says otherwise.

    The client and its connections are made for this call, in a thread of its own: nothing is
    shared between requests, and nothing in the process outlives them. A Django of one
    greenlet or thread a request may call it. A Redis that hangs is noticed within `TIMEOUT`.

    Raises:
        BrokerError: When there is no answer in time, or no Redis, or no Celery app.
    """
    try:
        app = project_app()
        url = _url(app)
    except TaskServerError as error:
        raise BrokerError(str(error)) from error
    try:
        return run_with_timeout(seconds or SECONDS, lambda: _with_client(app, work))
    except ValueError as error:
        # For a malformed URL; the message may contain the password.
        raise BrokerError(f"{address(url)} is not a valid Redis URL") from error
    except (RedisError, OSError) as error:
        raise BrokerError(explain_redis_error("broker_url", url, error).text) from error


def project_app() -> Any:
    """
    Return the project's Celery app: the one that its `delay()` uses in this process.

    Raises:
        TaskServerError: When there is none, or its import fails in a way that is known.
    """
    named = os.environ.get(VARIABLE)
    app = _state._tls.current_app or _state.default_app  # noqa: SLF001 - asking makes one
    if app is None or (app.main == "default" and not app.configured):
        if not named:
            found = search(Config(app=""), Path.cwd(), os.environ)
            if found is None:
                raise TaskServerError(
                    "this process has no Celery app; import it in the __init__.py of the "
                    f"project, as Celery's documentation has it, or name it in {VARIABLE}"
                )
            named = found.app
        app = find_app(named)
    return app


def queue_names(app: Any) -> list[str]:
    """Return the queues that the settings of *app* name; others are found in Redis."""
    conf = app.conf
    named = conf.task_queues if isinstance(conf.task_queues, list | tuple | dict) else ()
    names = [str(conf.task_default_queue), *(str(getattr(one, "name", one)) for one in named)]
    names += [queue for _, queue in route_table(conf.task_routes)]
    return [name for name in dict.fromkeys(names) if name not in ("", "*")]


def _url(app: Any) -> str:
    given = app.conf.broker_write_url or ""
    return ";".join(map(str, given)) if isinstance(given, list | tuple) else str(given)


def _with_client(app: Any, work: Callable[[Any, Keys], T]) -> T:
    with _channel(app) as channel:
        return work(Redis(connection_pool=channel.pool), Keys.of(channel))


@contextmanager
def _channel(app: Any) -> Iterator[Any]:
    bounds: dict[str, Any] = {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "retry_on_timeout": False,
    }
    own = (app.conf.broker_transport_options or {}).get("sentinel_kwargs")
    if own:
        bounds["sentinel_kwargs"] = {**own, "socket_timeout": TIMEOUT}
    connection = app.connection_for_write(transport_options=bounds)
    if connection.transport_cls is None or "redis" not in str(connection.transport.driver_type):
        raise BrokerError(f"the broker {connection.as_uri()} is not a Redis")
    # Not `connection.connect()`, which retries for seconds.
    channel = connection.transport.create_channel(connection.transport)
    try:
        yield channel
    finally:
        pool = channel.pool
        channel.close()
        pool.disconnect()
        connection.release()
