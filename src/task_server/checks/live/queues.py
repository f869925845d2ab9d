"""What lies in Redis: queues that were bound, messages that wait, and those that were put aside."""

import base64
import binascii
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis import Redis, exceptions

from task_server.checks.facts import Case, listed
from task_server.checks.rules.routing import cure, missing
from task_server.errors import Finding
from task_server.peers.deadline import run_with_timeout
from task_server.transport.store import unreadable
from task_server.transport.store.keys import Keys

#: What Kombu puts between the parts of a binding, and before a queue's priority.
SEPARATOR = "\x06\x16"

#: Queues of remote control and events, which no worker of tasks is to take from.
CONTROL = (".celery.pidbox", ".reply.celery.pidbox")

#: No more is looked at: keys, members of one, queues, messages of one, bytes of all.
KEYS, MEMBERS, QUEUES, MESSAGES, BYTES = 100_000, 1_000, 500, 50, 8 * 2**20

#: Messages that are fetched at once; one may be large.
PIECE = 10


@dataclass(slots=True)
class Content:
    """
    What was found.

    Attributes:
        bound: Names of queues in Kombu's bindings.

        waiting: How many messages each queue has, if any.

        tasks: How many of those looked at each task has, by queue.

        looked: How many were looked at, by queue.

        aside: How many were put aside, by what for; text says why they cannot be counted.
    """

    bound: set[str] = field(default_factory=set)
    waiting: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, Counter[str]] = field(default_factory=dict)
    looked: Counter[str] = field(default_factory=Counter)
    aside: dict[str, int | str] = field(default_factory=dict)


def queues(case: Case, app: Any, timeout: float) -> Iterator[Finding]:
    """Compare what lies in the broker of *app* with the workers and the tasks of the project."""
    try:
        content = run_with_timeout(3 * timeout, lambda: _look(case, app, timeout))
    except exceptions.ResponseError as error:
        yield Finding("info", "queues in Redis", f"not looked at: {error}")
        return
    except Exception:  # noqa: BLE001 - `live_redis` tells of a Redis that does not answer
        return
    yield from _bindings(case, content)
    yield from _unregistered(case, content)
    yield from _aside(content)


def _look(case: Case, app: Any, timeout: float) -> Content:
    options = {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    end = time.monotonic() + 2 * timeout
    with app.connection_for_write(transport_options=options) as connection:
        channel = connection.transport.create_channel(connection.transport)
        try:
            # Complete keys: the channel's own client prefixes only some commands.
            client: Any = Redis(connection_pool=channel.pool)
            content = Content()
            keys = Keys.of(channel)
            content.bound = set(_bound(client, keys, end))
            for queue in list(_names(case, content))[:QUEUES]:
                if time.monotonic() > end:
                    break
                _count(client, queue, keys.lists_of(queue), content)
            for what, count in (
                ("dead letters", partial(client.hlen, keys.dead_letters)),
                ("unreadable messages", partial(unreadable.count, client, keys)),
            ):
                try:
                    content.aside[what] = int(count())
                except exceptions.ResponseError as error:
                    content.aside[what] = str(error)
            return content
        finally:
            channel.close()


def _bound(client: Any, keys: Keys, end: float) -> Iterator[str]:
    """Return the queues of all bindings, remote control's and events' apart."""
    start = keys.binding_of("")
    escaped = "".join(f"\\{one}" if one in "*?[]\\" else one for one in start)
    for number, key in enumerate(client.scan_iter(match=f"{escaped}*", count=1000)):
        exchange = key.decode(errors="replace")[len(start) :]
        if number >= KEYS or time.monotonic() > end:
            return
        if exchange == "celeryev" or exchange.endswith(".pidbox"):
            continue
        try:
            members = client.sscan(key, count=MEMBERS)[1]
        except exceptions.ResponseError:
            continue  # not a set, so not Kombu's
        for member in members[: 2 * MEMBERS]:
            queue = member.decode(errors="replace").split(SEPARATOR)[-1]
            if queue and not queue.endswith(CONTROL) and not queue.startswith("celeryev."):
                yield queue


def _names(case: Case, content: Content) -> Iterable[str]:
    found = dict.fromkeys(content.bound)
    if case.facts is not None:
        found.update(dict.fromkeys(case.facts.named))
        found.update(dict.fromkeys(one.queue for one in case.facts.seen))
    for profile in case.profiles.values():
        found.update(dict.fromkeys(profile.worker.queues))
    return found


def _count(client: Any, queue: str, keys: tuple[str, ...], content: Content) -> None:
    """Count what waits in *queue*, whose lists are *keys*, and what tasks its next ones are."""
    for key in dict.fromkeys(keys):
        try:
            length = int(client.llen(key))
        except exceptions.ResponseError:
            continue  # not a list, so not a queue
        if not length:
            continue
        content.waiting[queue] = content.waiting.get(queue, 0) + length
        room = BYTES
        for first in range(0, min(length, MESSAGES), PIECE):
            # The next one to be taken is the last of the list.
            for text in client.lrange(key, -first - PIECE, -first - 1):
                room -= len(text)
                name = task_of(text)
                content.looked[queue] += 1
                if name:
                    content.tasks.setdefault(queue, Counter())[name] += 1
            if room < 0:
                return


def task_of(text: bytes) -> str:
    """Return the name of the task that the message *text* calls; empty if it cannot be told."""
    try:
        message = json.loads(text)
        headers = message.get("headers") or {}
        name = headers.get("task")
        if name is None:
            # Protocol 1 has it in the body.
            body = message["body"]
            if message.get("properties", {}).get("body_encoding") == "base64":
                body = base64.b64decode(body)
            name = json.loads(body)["task"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error):
        return ""
    return name if isinstance(name, str) else ""


def _bindings(case: Case, content: Content) -> Iterator[Finding]:
    """Name the queues that only Redis knows, and that no worker takes from."""
    facts = case.facts
    known = set() if facts is None else {*facts.named, *(one.queue for one in facts.seen)}
    left = [
        queue
        for queue in sorted(content.bound - known)
        if not any(case.takes(name, queue) for name in case.profiles)
    ]
    full = {queue: content.waiting[queue] for queue in left if queue in content.waiting}
    if full:
        named = [f"{queue} ({count} messages)" for queue, count in full.items()]
        yield Finding(
            "warning",
            "queues in Redis",
            f"messages wait, and no worker here takes from {listed(named)}",
            f"if the project's tasks are in there, {cure(case, [*missing(case), *full])}",
        )
    empty = [queue for queue in left if queue not in full]
    if empty:
        yield Finding(
            "info",
            "queues in Redis",
            f"bound there by a worker or a producer, and empty; no worker here takes from "
            f"{listed(empty)}",
        )


def _unregistered(case: Case, content: Content) -> Iterator[Finding]:
    """Name the tasks that wait and that no code of the project registers."""
    if case.facts is None:
        return
    registered = {task.name for task in case.facts.tasks}
    for queue, tasks in content.tasks.items():
        strange = {
            name: count
            for name, count in tasks.items()
            if name not in registered and not name.startswith("celery.")
        }
        if strange and any(case.takes(name, queue) for name in case.profiles):
            yield Finding(
                "warning",
                f"tasks in {queue}",
                f"{sum(strange.values())} of the next {content.looked[queue]} messages "
                f"({content.waiting[queue]} wait) are of tasks that this project does not "
                f"register: {listed([_short(name) for name in strange])}",
                "start a worker of the code that has them, or give this one the modules "
                "(CELERY_IMPORTS)",
            )


def _short(name: str) -> str:
    return name if len(name) <= 100 and name.isprintable() else repr(name)[:100]  # noqa: PLR2004


#: What shows, or ends, what was put aside.
CURES: Mapping[str, str] = {
    "dead letters": "see `task-server dead list`, then retry or drop them",
    "unreadable messages": "see the log of the workers for the reasons",
}


def _aside(content: Content) -> Iterator[Finding]:
    """Tell of what workers have put aside."""
    for what, count in content.aside.items():
        if isinstance(count, str):
            yield Finding("warning", what, f"cannot be counted: {count}", "see who writes that key")
        elif count:
            yield Finding("warning", what, f"{count} were put aside", CURES[what])
