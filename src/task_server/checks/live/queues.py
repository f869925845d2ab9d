"""What is in Redis: bound queues, waiting messages, dead letters and unreadable messages."""

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

from task_server.checks.facts import Context, listed
from task_server.checks.rules.routing import missing, repair
from task_server.errors import Finding
from task_server.peers.deadline import run_with_timeout
from task_server.transport.store import unreadable
from task_server.transport.store.keys import Keys

#: Separates the parts of a Kombu binding, and a queue from its priority.
SEPARATOR = "\x06\x16"

#: Suffixes of remote control's queues, which workers do not consume as tasks.
CONTROL = (".celery.pidbox", ".reply.celery.pidbox")

#: Limits on what is read: keys, members of one, queues, messages of one, bytes in all.
KEYS, MEMBERS, QUEUES, MESSAGES, BYTES = 100_000, 1_000, 500, 50, 8 * 2**20

#: Messages read at once; one may be large.
BATCH = 10


@dataclass(slots=True)
class Content:
    """
    What was found in Redis.

    Attributes:
        bound: Queue names in Kombu's bindings.

        waiting: The length of each queue that is not empty.

        tasks: How many of the sampled messages call each task, by queue.

        sampled: How many messages were sampled, by queue.

        set_apart: How many messages were set apart, by kind; a string says why
            they cannot be counted.
    """

    bound: set[str] = field(default_factory=set)
    waiting: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, Counter[str]] = field(default_factory=dict)
    sampled: Counter[str] = field(default_factory=Counter)
    set_apart: dict[str, int | str] = field(default_factory=dict)


def queues(context: Context, app: Any, timeout: float) -> Iterator[Finding]:
    """Compare what is in the broker of *app* with the workers and the project's tasks."""
    try:
        content = run_with_timeout(3 * timeout, lambda: _read(context, app, timeout))
    except exceptions.ResponseError as error:
        yield Finding("info", "queues in Redis", f"not checked: {error}")
        return
    except Exception:  # noqa: BLE001 - `live.redis` reports a Redis that does not answer
        return
    yield from _bindings(context, content)
    yield from _unregistered(context, content)
    yield from _set_apart(content)


def _read(context: Context, app: Any, timeout: float) -> Content:
    options = {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    end = time.monotonic() + 2 * timeout
    with app.connection_for_write(transport_options=options) as connection:
        channel = connection.transport.create_channel(connection.transport)
        try:
            # With complete keys: the channel's own client prefixes only some commands.
            client: Any = Redis(connection_pool=channel.pool)
            content = Content()
            keys = Keys.of(channel)
            content.bound = set(_bound(client, keys, end))
            for queue in list(_names(context, content))[:QUEUES]:
                if time.monotonic() > end:
                    break
                _count(client, queue, keys.lists_of(queue), content)
            for what, count in (
                ("dead letters", partial(client.hlen, keys.dead_letters)),
                ("unreadable messages", partial(unreadable.count, client, keys)),
            ):
                try:
                    content.set_apart[what] = int(count())
                except exceptions.ResponseError as error:
                    content.set_apart[what] = str(error)
            return content
        finally:
            channel.close()


def _bound(client: Any, keys: Keys, end: float) -> Iterator[str]:
    """Return the queues of all bindings, except for remote control and events."""
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


def _names(context: Context, content: Content) -> Iterable[str]:
    found = dict.fromkeys(content.bound)
    if context.facts is not None:
        found.update(dict.fromkeys(context.facts.named))
        found.update(dict.fromkeys(one.queue for one in context.facts.seen))
    for worker in context.workers.values():
        found.update(dict.fromkeys(worker.queues))
    return found


def _count(client: Any, queue: str, keys: tuple[str, ...], content: Content) -> None:
    """Count the messages of *queue*, in the lists *keys*, and sample the next ones' tasks."""
    for key in dict.fromkeys(keys):
        try:
            length = int(client.llen(key))
        except exceptions.ResponseError:
            continue  # not a list, so not a queue
        if not length:
            continue
        content.waiting[queue] = content.waiting.get(queue, 0) + length
        room = BYTES
        for first in range(0, min(length, MESSAGES), BATCH):
            # The next message to be fetched is the last of the list.
            for text in client.lrange(key, -first - BATCH, -first - 1):
                room -= len(text)
                name = task_of(text)
                content.sampled[queue] += 1
                if name:
                    content.tasks.setdefault(queue, Counter())[name] += 1
            if room < 0:
                return


def task_of(text: bytes) -> str:
    """Return the task that the message *text* calls; empty if unknown."""
    try:
        message = json.loads(text)
        headers = message.get("headers") or {}
        name = headers.get("task")
        if name is None:
            # Protocol 1 puts it into the body.
            body = message["body"]
            if message.get("properties", {}).get("body_encoding") == "base64":
                body = base64.b64decode(body)
            name = json.loads(body)["task"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error):
        return ""
    return name if isinstance(name, str) else ""


def _bindings(context: Context, content: Content) -> Iterator[Finding]:
    """Report queues that only Redis knows and that no worker consumes."""
    facts = context.facts
    known = set() if facts is None else {*facts.named, *(one.queue for one in facts.seen)}
    left = [
        queue
        for queue in sorted(content.bound - known)
        if not any(context.consumes(name, queue) for name in context.workers)
    ]
    full = {queue: content.waiting[queue] for queue in left if queue in content.waiting}
    if full:
        named = [f"{queue} ({count} messages)" for queue, count in full.items()]
        yield Finding(
            "warning",
            "queues in Redis",
            f"messages are waiting, but no worker here consumes {listed(named)}",
            f"if they are tasks of this project, {repair(context, [*missing(context), *full])}",
        )
    empty = [queue for queue in left if queue not in full]
    if empty:
        yield Finding(
            "info",
            "queues in Redis",
            f"bound by a worker or a producer, and empty; no worker here consumes {listed(empty)}",
        )


def _unregistered(context: Context, content: Content) -> Iterator[Finding]:
    """Report waiting tasks that the project does not register."""
    if context.facts is None:
        return
    registered = {task.name for task in context.facts.tasks}
    for queue, tasks in content.tasks.items():
        unregistered = {
            name: count
            for name, count in tasks.items()
            if name not in registered and not name.startswith("celery.")
        }
        if unregistered and any(context.consumes(name, queue) for name in context.workers):
            yield Finding(
                "warning",
                f"tasks in {queue}",
                f"{sum(unregistered.values())} of the next {content.sampled[queue]} messages "
                f"({content.waiting[queue]} waiting) call tasks that this project does not "
                f"register: {listed([_short(name) for name in unregistered])}",
                "start a worker with the code that has them, or add their modules to "
                "CELERY_IMPORTS",
            )


def _short(name: str) -> str:
    return name if len(name) <= 100 and name.isprintable() else repr(name)[:100]  # noqa: PLR2004


#: What to do about messages that were set apart.
REPAIRS: Mapping[str, str] = {
    "dead letters": "see `task-server dead list`, then retry or drop them",
    "unreadable messages": "see the workers' log for the reasons",
}


def _set_apart(content: Content) -> Iterator[Finding]:
    """Report messages that workers have set apart."""
    for what, count in content.set_apart.items():
        if isinstance(count, str):
            yield Finding(
                "warning", what, f"cannot be counted: {count}", "find what else writes that key"
            )
        elif count:
            yield Finding("warning", what, f"{count} were set apart", REPAIRS[what])
