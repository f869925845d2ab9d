"""Redelivers messages that were not acknowledged, or makes them dead letters."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import time
from typing import Any, Final, NamedTuple

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads

from task_server.transport.hooks import Hooks
from task_server.transport.started.analysis import CrashAnalysis
from task_server.transport.started.crashes import CERTAIN, Blame, history, is_enough
from task_server.transport.store import previous_owner, unreadable
from task_server.transport.store.client import Store
from task_server.transport.store.dead_letters import DeadLetter, record_of
from task_server.transport.store.entry import TAKEN_FROM, original_of
from task_server.transport.store.owner import MARKER
from task_server.transport.store.parts import parts_of
from task_server.transport.store.scripts import BATCH, ENTRIES, RESTORE
from task_server.transport.unacked.routes import Routes

logger: Final = logging.getLogger(__name__)

#: Why a message is redelivered, in its history; these values are in Redis.
LEASE_EXPIRED: Final = "no sign of life"
CHILD_LOST: Final = "child died"


class Step(NamedTuple):
    """
    What the script does with a message.

    Attributes:
        action: 'push' to a list, or 'dead'; NOWHERE if it cannot be delivered.

        text: The message, the record of the dead letter, or the reason.
    """

    action: str
    list_key: str
    text: Any


#: The action for a message that cannot be delivered: move it to the unreadable messages.
NOWHERE: Final = "nowhere"


class Redelivery:
    """
    Redelivers messages of one Redis.

    Args:
        poison_limit: A message that crashed so many workers becomes a dead letter;
            0 means never.

        hooks: Whose `before_redelivery` is called.

        on_dead_letter: Gets each new dead letter.
    """

    def __init__(
        self,
        store: Store,
        routes: Routes,
        poison_limit: int,
        hooks: Hooks,
        on_dead_letter: Callable[[DeadLetter], None],
    ) -> None:
        self._store = store
        self._routes = routes
        self._poison_limit = poison_limit
        self._hooks = hooks
        self._on_dead_letter = on_dead_letter

    def redeliver(
        self,
        tags: Sequence[str],
        *,
        latest: float | None = None,
        leftmost: bool = False,
        crash: str | None = None,
        unchanged: bool = False,
        until: Mapping[str, float] | None = None,
    ) -> int:
        """
        Redeliver the messages of *tags*; return how many were redelivered.

        Args:
            latest: Only messages not renewed since then, in seconds by the server's
                clock.

            leftmost: Put them at the end of their queues.

            crash: Why their owner must be dead; a message with too many crashes
                becomes a dead letter.

            unchanged: Put them back as they were before they were fetched.

            until: When each was last renewed, by the server's clock; the next owner
                logs it.
        """
        store, keys = self._store, self._store.keys
        analysis = CrashAnalysis(store)
        limits = (
            keys.dead_letters,
            "LPUSH" if leftmost else "RPUSH",
            "" if latest is None else repr(latest),
        )
        count, left = 0, list(tags)
        while left:
            entries = ENTRIES.run(store.client, [keys.unacked], left[:BATCH])
            if crash == LEASE_EXPIRED:
                # If this worker is killed as well, the next one does it again.
                self._hooks.before_redelivery(parts_of(entries))
            arguments: list[str | bytes] = [*limits]
            for tag, entry in zip(left, entries, strict=False):
                if entry is None:
                    arguments.extend((tag, "", "forget", "", ""))
                    continue
                sha = hashlib.sha1(entry, usedforsecurity=False).hexdigest()
                before = original_of(entry) if unchanged else None
                if before and before.list_key:
                    steps = [Step("push", before.list_key, before.payload)]
                else:
                    when = until.get(tag) if until else None
                    steps = self.steps(tag, entry, crash, analysis, until=when)
                for step in steps:
                    if step.action != NOWHERE:
                        arguments.extend((tag, sha, *step))
                    elif latest is None or crash == LEASE_EXPIRED:
                        # Otherwise another worker may own it by now.
                        unreadable.move(store, [tag], step.text)
            count += self._run(arguments)
            del left[: len(entries)]
        return count

    def _run(self, arguments: Sequence[str | bytes]) -> int:
        """Run the script; return of how many messages it has disposed."""
        store, keys = self._store, self._store.keys
        count, problems, dead = RESTORE.run(store.client, keys.unacked_and_times, arguments)
        if problems:
            store.problems.of_restore(problems)
        if dead:
            self._report(store.client.hmget(keys.dead_letters, dead))
        return int(count) + len(dead)

    def _report(self, records: Iterable[bytes | None]) -> None:
        """Log new dead letters, and give them to the worker."""
        for record in records:
            if record is not None:
                one = DeadLetter.read("", record)
                logger.error(
                    "%s[%s] of the queue %s moved to dead letters: %d workers crashed while they "
                    "had it, the last one %s (pid %s); see `task-server dead list`",
                    *(one.task, one.id, one.queue, len(one.crashes)),
                    *(one.crashes[-1]["node"], one.crashes[-1]["pid"]),
                )
                self._on_dead_letter(one)

    def steps(
        self,
        tag: str,
        entry: bytes,
        crash: str | None,
        analysis: CrashAnalysis,
        *,
        until: float | None = None,
    ) -> list[Step]:
        """
        Return what to do with the message *entry*.

        NOWHERE and the reason for a message that cannot be delivered, which Kombu
        would drop; nothing if no queue is bound for it: it stays where it is.
        """
        try:
            payload, exchange, routing_key = loads(bytes_to_str(entry))
            queues = self._routes.queues_of(exchange, routing_key)
            _mark_redelivered(payload)
            priority = self._routes.priority_of(payload)
            owner, key = payload.pop("holder", None), payload.pop("taken_from", None)
            payload.pop(previous_owner.FIELD, None)
            if key and TAKEN_FROM in entry:
                lists, queues = [key], queues or [key]
            else:
                lists = [self._store.keys.list_of(queue, priority) for queue in queues]
            # A worker with Kombu's transport never renews, even if it is alive.
            if crash is not None and self._poison_limit and MARKER in entry and owner:
                blame = (
                    CERTAIN
                    if crash == CHILD_LOST
                    else analysis.blame(tag, owner, seen_before="deaths" in payload)
                )
                if self._adds_up(payload, owner, crash, blame) and queues:
                    crashes = payload.pop("deaths")
                    text = dumps(payload)
                    payload["deaths"] = crashes
                    record = record_of(payload, lists, queues[0], text, time())
                    return [Step("dead", "", record)]
            if until is not None and owner and MARKER in entry:
                previous_owner.add_to(payload, owner, until)
            text = dumps(payload)
        except self._store.errors:
            raise
        except Exception as error:  # noqa: BLE001 - one message stops no other
            reason = f"it cannot be redelivered: {type(error).__name__}: {error}"
            return [Step(NOWHERE, "", reason)]
        if not lists:
            logger.error(
                "no queue is bound to exchange %r, routing key %r, for the unacked message %s; "
                "it is kept in %s",
                *(exchange, routing_key, tag, self._store.keys.unacked),
            )
        return [Step("push", name, text) for name in lists]

    def _adds_up(
        self, payload: dict[str, Any], owner: dict[str, Any], crash: str, blame: Blame | None
    ) -> bool:
        """Add a *crash* of *owner* to the history of *payload*; return whether it is enough."""
        crashes = history(payload.get("deaths"), self._poison_limit)
        if blame is not None:
            for field in ("run", "lease"):
                owner.pop(field, None)
            crashes.append({"reason": crash, **owner, "at": time(), **blame.described()})
        payload["deaths"] = crashes
        return blame is not None and is_enough(crashes, self._poison_limit)


def _mark_redelivered(payload: dict[str, Any]) -> None:
    """Mark a message as redelivered, as Kombu does, if it has the field."""
    for field in (payload.get("headers"), payload["properties"].get("delivery_info")):
        # PHP writes an empty object as a list.
        if isinstance(field, dict):
            field["redelivered"] = True
