"""What is stopped by hand: queues that are paused, and nodes that are drained."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from redis import Redis, exceptions

from task_server.checks.facts import Context, listed
from task_server.errors import Finding
from task_server.peers.deadline import run_with_timeout
from task_server.transport.store import stops
from task_server.transport.store.excerpt import excerpt
from task_server.transport.store.keys import Keys
from task_server.transport.store.stops import Stop

SETTING = "stopped by hand"


def stopped(context: Context, app: Any, timeout: float) -> Iterator[Finding]:
    """Report the paused queues of *app*, those of *context* that do not obey, and drained nodes."""
    try:
        paused, drained = run_with_timeout(3 * timeout, lambda: _read(app, timeout))
    except exceptions.ResponseError as error:
        yield Finding("info", SETTING, f"not checked: {error}")
        return
    except Exception:  # noqa: BLE001 - `live.redis` reports a Redis that does not answer
        return
    if paused:
        free = [
            name
            for name, worker in context.workers.items()
            if not context.is_atomic(worker) and any(context.consumes(name, one) for one in paused)
        ]
        more = f"; not bound by it, with Kombu's transport: {listed(free)}" if free else ""
        yield Finding(
            "warning",
            SETTING,
            f"no worker of task-server takes anything from {_shown(paused)}{more}",
            "run `task-server resume QUEUE`, if its time is over",
        )
    if drained:
        yield Finding(
            "warning",
            SETTING,
            f"these nodes take nothing: {_shown(drained)}",
            "run `task-server resume NODE`, if its time is over",
        )


def _read(app: Any, timeout: float) -> tuple[dict[str, Stop], dict[str, Stop]]:
    options = {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    with app.connection_for_write(transport_options=options) as connection:
        channel = connection.transport.create_channel(connection.transport)
        try:
            # With complete keys: the channel's own client prefixes only some commands.
            client: Any = Redis(connection_pool=channel.pool)
            keys = Keys.of(channel)
            return stops.paused(client, keys), stops.drained(client, keys)
        finally:
            channel.close()


def _shown(found: Mapping[str, Stop]) -> str:
    return listed([f"{excerpt(name)} ({_by(stop)})" for name, stop in sorted(found.items())])


def _by(stop: Stop) -> str:
    who = f"by {excerpt(stop.who)}" if stop.who else "by hand"
    try:
        return f"{who} since {datetime.fromtimestamp(stop.at or 0, UTC):%Y-%m-%d %H:%M:%SZ}"
    except (OverflowError, OSError, ValueError):
        return who
