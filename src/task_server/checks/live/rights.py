"""What the user of the broker URL may do, against what a worker needs."""

from collections.abc import Iterator
from typing import Any

from redis import Redis

from task_server.checks.facts import Case
from task_server.config.values import ALL_QUEUES
from task_server.errors import Finding
from task_server.peers.deadline import run_with_timeout
from task_server.transport.store import rights as known
from task_server.transport.store.keys import Keys
from task_server.transport.store.rights import Missing

SETTING = "broker user"


def rights(case: Case, app: Any, timeout: float) -> Iterator[Finding]:
    """Try, without changing anything, each command that the workers of *case* need."""
    workers = [profile.worker for profile in case.profiles.values()]
    if not any(case.is_atomic(worker) for worker in workers):
        return
    named = {queue for worker in workers for queue in worker.queues if queue != ALL_QUEUES}
    queues = sorted(named) or [str(app.conf.task_default_queue)]
    try:
        found = run_with_timeout(3 * timeout, lambda: _ask(app, queues, timeout))
    except Exception:  # noqa: BLE001 - that the broker does not answer its own rule says
        return
    needed = [one for one in found if not one.right.without]
    # One of the two is enough, see `Right.without`.
    lost = {one.right.command for one in found}
    if {"LTRIM", "RPOP"} <= lost:
        needed += [one for one in found if one.right.command == "LTRIM"]
    if needed:
        yield Finding(
            "error",
            SETTING,
            f"it may not use {_named(needed)}: workers take no messages ({needed[0].error})",
            _cure(needed),
        )
    for one in found:
        if one not in needed:
            yield Finding(
                "warning",
                SETTING,
                f"it may not use {one.right.command}: {one.right.without}",
                _cure([one]),
            )
    if not found:
        yield Finding("ok", SETTING, "it may do all that a worker does")


def _ask(app: Any, queues: list[str], timeout: float) -> list[Missing]:
    options = {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    with app.connection_for_write(transport_options=options) as connection:
        channel = connection.transport.create_channel(connection.transport)
        try:
            client: Any = Redis(connection_pool=channel.pool)
            return known.missing(
                client,
                Keys.of(channel),
                queues,
                int(client.connection_pool.connection_kwargs.get("db") or 0),
            )
        finally:
            channel.close()


def _named(found: list[Missing]) -> str:
    return ", ".join(one.right.command for one in found)


def _cure(found: list[Missing]) -> str:
    rules = " ".join(f"+{one.right.command.lower().replace(' ', '|')}" for one in found)
    return (
        f"run `redis-cli acl setuser NAME {rules}`; where a key is refused, give it "
        "`~unacked* ~_kombu*` and the names of the queues"
    )
