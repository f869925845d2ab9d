"""The permissions of the broker URL's user, compared with what a worker needs."""

from collections.abc import Iterator
from typing import Any

from redis import Redis

from task_server.checks.facts import Context
from task_server.config.values import ALL_QUEUES
from task_server.errors import Finding
from task_server.peers.deadline import run_with_timeout
from task_server.transport.store.keys import Keys
from task_server.transport.store.rights import Missing, missing

SETTING = "broker user"


def rights(context: Context, app: Any, timeout: float) -> Iterator[Finding]:
    """Try each command that the workers of *context* need, without changing anything."""
    workers = list(context.workers.values())
    if not any(context.is_atomic(worker) for worker in workers):
        return
    named = {queue for worker in workers for queue in worker.queues if queue != ALL_QUEUES}
    queues = sorted(named) or [str(app.conf.task_default_queue)]
    try:
        prefix, found = run_with_timeout(3 * timeout, lambda: _ask(app, queues, timeout))
    except Exception:  # noqa: BLE001 - the broker's own check reports that
        return
    needed = [one for one in found if not one.right.without]
    # One of the two is enough; see `Right.without`.
    lost = {one.right.command for one in found}
    if {"LTRIM", "RPOP"} <= lost:
        needed += [one for one in found if one.right.command == "LTRIM"]
    if needed:
        yield Finding(
            "error",
            SETTING,
            f"may not use {_named(needed)}: workers fetch no messages ({needed[0].error})",
            _repair(needed, prefix),
        )
    for one in found:
        if one not in needed:
            yield Finding(
                "warning",
                SETTING,
                f"may not use {one.right.command}: {one.right.without}",
                _repair([one], prefix),
            )
    if not found:
        yield Finding("ok", SETTING, "has every permission that a worker needs")


def _ask(app: Any, queues: list[str], timeout: float) -> tuple[str, list[Missing]]:
    """Return the prefix of all keys, and what the user lacks."""
    options = {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    with app.connection_for_write(transport_options=options) as connection:
        channel = connection.transport.create_channel(connection.transport)
        try:
            client: Any = Redis(connection_pool=channel.pool)
            keys = Keys.of(channel)
            database = int(client.connection_pool.connection_kwargs.get("db") or 0)
            return keys.prefix, missing(client, keys, queues, database)
        finally:
            channel.close()


def _named(found: list[Missing]) -> str:
    return ", ".join(one.right.command for one in found)


def _repair(found: list[Missing], prefix: str) -> str:
    rules = " ".join(f"+{one.right.command.lower().replace(' ', '|')}" for one in found)
    return (
        f"run `redis-cli acl setuser NAME {rules}`; if a key is refused, add "
        f"`~{prefix}unacked* ~{prefix}_kombu*` and the names of the queues"
    )
