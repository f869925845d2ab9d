"""Delayed tasks in Redis: who returns them to their queues when they are due."""

from collections.abc import Iterator
from typing import Any

from redis import Redis, exceptions

from task_server.checks.facts import Context, listed
from task_server.errors import Finding
from task_server.peers.deadline import run_with_timeout
from task_server.transport.store import delayed as store
from task_server.transport.store.keys import Keys

SETTING = "delayed tasks"


def delayed(context: Context, app: Any, timeout: float) -> Iterator[Finding]:
    """Count the delayed tasks of *app*, and report those that no worker of *context* returns."""
    try:
        counts = run_with_timeout(3 * timeout, lambda: _read(app, timeout))
    except exceptions.ResponseError as error:
        yield Finding("info", SETTING, f"not checked: {error}")
        return
    except Exception:  # noqa: BLE001 - `live.redis` reports a Redis that does not answer
        return
    stranded = {queue: count for queue, count in counts.items() if not _returned(context, queue)}
    if stranded:
        named = [f"{queue} ({count} tasks)" for queue, count in sorted(stranded.items())]
        yield Finding(
            "warning",
            SETTING,
            "they wait in Redis, and only a worker with the atomic transport returns them when "
            f"they are due; none here consumes {listed(named)}",
            "start one, or run `task-server delayed release` for Celery's own workers",
        )
    waiting = sum(counts.values()) - sum(stranded.values())
    if waiting:
        yield Finding("info", SETTING, f"{waiting} wait in Redis until they are due")


def _returned(context: Context, queue: str) -> bool:
    """Return whether a worker of *context* returns the delayed tasks of *queue*."""
    return any(
        context.is_atomic(worker) and context.consumes(name, queue)
        for name, worker in context.workers.items()
    )


def _read(app: Any, timeout: float) -> dict[str, int]:
    options = {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    with app.connection_for_write(transport_options=options) as connection:
        channel = connection.transport.create_channel(connection.transport)
        try:
            # With complete keys: the channel's own client prefixes only some commands.
            client: Any = Redis(connection_pool=channel.pool)
            return store.counts(client, Keys.of(channel))
        finally:
            channel.close()
