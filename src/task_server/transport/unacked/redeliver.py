"""Deliver messages again that were taken and not acknowledged, or put them aside."""

# ruff: noqa: SLF001 - Kombu's transports are made of private methods

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from time import time
from typing import Any, Final

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads

from task_server.transport.started import reporter as begun
from task_server.transport.started.crashes import CERTAIN, history, is_enough
from task_server.transport.store import previous_owner as again
from task_server.transport.store import unreadable
from task_server.transport.store.dead_letters import Dead, record_of
from task_server.transport.store.entry import TAKEN_FROM, taken
from task_server.transport.store.owner import MARK
from task_server.transport.store.scripts import RESTORE

logger: Final = logging.getLogger(__name__)

#: What becomes of a message that cannot be delivered: it is put aside as unreadable.
NOWHERE: Final = "nowhere"

#: Why a message is delivered again, in its history.
NO_SIGN_OF_LIFE: Final = "no sign of life"
CHILD_DIED: Final = "child died"


def redeliver(
    channel: Any,
    tags: Sequence[str],
    *,
    latest: float | None = None,
    leftmost: bool = False,
    death: str | None = None,
    unchanged: bool = False,
    until: Mapping[str, float] | None = None,
) -> int:
    """
    Deliver the messages of *tags* again; return how many it was.

    Args:
        channel: The channel whose Redis has them.

        latest: Only those without a sign of life since then, seconds by
            the server's clock.

        leftmost: Deliver them after all others.

        death: Why whoever ran them must be dead; a message of which too
            many have died is put aside.

        until: When whoever held each of them gave the last sign of life, by the
            server's clock; who gets it again says so.
    """
    if not tags:
        return 0
    client = channel.bare_client()
    keys = channel.unacked_keys()
    inquest = begun.Inquest(client, keys[0])
    arguments: list[str | bytes] = [
        channel.dead_key,
        "LPUSH" if leftmost else "RPUSH",
        "" if latest is None else repr(latest),
    ]
    nowhere: list[tuple[str, str]] = []
    for tag, entry in zip(tags, client.hmget(keys[0], tags), strict=True):
        if entry is None:
            arguments.extend((tag, "", "forget", "", ""))
            continue
        sha = hashlib.sha1(entry, usedforsecurity=False).hexdigest()
        before = taken(entry) if unchanged else None
        if before and before.list:
            arguments.extend((tag, sha, "push", before.list, before.text))
            continue
        there = (until or {}).get(tag)
        for step in destinations(channel, tag, entry, death, inquest, until=there):
            if step[0] == NOWHERE:
                nowhere.append((tag, step[2]))
            else:
                arguments.extend((tag, sha, *step))
    # Of any other death somebody else may have them by now.
    if latest is None or death == NO_SIGN_OF_LIFE:
        _put_aside(channel, nowhere)
    count, problems, dead = RESTORE.run(client, keys, arguments)
    if problems:
        channel.problems.of_restore(problems)
    if dead:
        _report(channel, client.hmget(channel.dead_key, dead))
    return int(count) + len(dead)


def _put_aside(channel: Any, messages: Iterable[tuple[str, str]]) -> None:
    """Put *messages*, each a tag and the reason, to the unreadable ones."""
    for tag, reason in messages:
        unreadable.put_aside(channel, [tag], reason)


def _report(channel: Any, records: Iterable[bytes | None]) -> None:
    """Tell the operator, and the worker, of messages that were put aside."""
    for record in records:
        if record is not None:
            one = Dead.read("", record)
            logger.error(
                "%s[%s] of the queue %s is put aside: %d workers died while they had it, the "
                "last one %s (pid %s); see `task-server dead list`",
                *(one.task, one.id, one.queue, len(one.deaths)),
                *(one.deaths[-1]["node"], one.deaths[-1]["pid"]),
            )
            channel.qos.put_aside(channel, one)


def destinations(
    channel: Any,
    tag: str,
    entry: bytes,
    death: str | None,
    inquest: begun.Inquest,
    *,
    until: float | None = None,
) -> list[tuple[str, str, str]]:
    """
    Return what becomes of the message: 'push' or 'dead', the list, the text.

    Of a message that cannot be delivered NOWHERE, '' and the reason, which
    Kombu drops; and nothing if there is no queue for it: it stays where it is.
    """
    try:
        payload, exchange, routing_key = loads(bytes_to_str(entry))
        queues = channel._lookup(exchange, routing_key)
        _mark_redelivered(payload)
        priority = channel._get_message_priority(payload, reverse=False)
        held_by, key = payload.pop("holder", None), payload.pop("taken_from", None)
        payload.pop(again.KEY, None)
        if key and TAKEN_FROM in entry:
            lists, queues = [key], queues or [key]
        else:
            lists = [channel.prefixed(channel._q_for_pri(queue, priority)) for queue in queues]
        # Kombu's transport gives no sign of life, and is alive for all that.
        if death is not None and channel.poison_limit and MARK in entry and held_by:
            marked = "deaths" in payload
            deaths = history(payload.get("deaths"), channel.poison_limit)
            found = CERTAIN if death == CHILD_DIED else inquest.blame(tag, held_by, marked=marked)
            if found is not None:
                for field in ("run", "lease"):
                    held_by.pop(field, None)
                deaths.append({"reason": death, **held_by, "at": time(), **found.described()})
            if queues and found is not None and is_enough(deaths, channel.poison_limit):
                payload.pop("deaths", None)
                text = dumps(payload)
                payload["deaths"] = deaths
                return [("dead", "", record_of(payload, lists, queues[0], text, time()))]
            payload["deaths"] = deaths
        if until is not None and held_by and MARK in entry:
            again.mark(payload, held_by, until)
        text = dumps(payload)
    except (*channel.connection_errors, channel.ResponseError):
        raise
    except Exception as error:  # noqa: BLE001 - one message stops no other
        return [(NOWHERE, "", f"it cannot be delivered again: {type(error).__name__}: {error}")]
    if not lists:
        logger.error(
            "no queue is bound to exchange %r, routing key %r, for the unacked message %s; "
            "it is kept in %s",
            *(exchange, routing_key, tag, channel.unacked_key),
        )
    return [("push", name, text) for name in lists]


def _mark_redelivered(payload: dict[str, Any]) -> None:
    """Mark a message as delivered before, where Kombu does; it needs no such field."""
    for field in (payload.get("headers"), payload["properties"].get("delivery_info")):
        # PHP writes an empty object as a list.
        if isinstance(field, dict):
            field["redelivered"] = True
