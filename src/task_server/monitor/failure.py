"""One failure, frozen, and which of them are meant. Times are seconds since 1970."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from task_server.settings.mask import masked_repr
from task_server.transport.store import dead_letters
from task_server.transport.store.dead_letters import DeadLetter
from task_server.transport.store.failed_tasks import FailedTask

#: Why a task is kept; the others are those of `dead_letters`: 'crashed', 'not registered'.
FAILED: Final = "failed"

#: Characters of the arguments of a dead letter.
MOST: Final = 1000

#: The exception of which Celery would speak, by the reason of a dead letter, and its words.
_ERRORS: Final[Mapping[str, tuple[str, str]]] = {
    dead_letters.CRASHED: ("WorkerLostError", "its workers crashed while they ran it"),
    dead_letters.NOT_REGISTERED: ("NotRegistered", "no code of its worker registers it"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """
    One failed task, or dead letter; '' and None are not known.

    Attributes:
        key: Its name in Redis, which no other failure has.

        id, task, queue: Of the message.

        reason: 'failed', 'crashed' or 'not registered'.

        at: When it failed, by the server's clock.

        args, kwargs: As text, without secrets.

        error, text: The type of the exception, and what it says.

        traceback: Of bounded length.

        worker, pid: The node, and the process that ran it.

        tries: How often it was tried; of a dead letter, how often it crashed.

        has_message: Whether its message is kept, so that it can be retried.

        kept: The record, for `actions`.
    """

    key: str
    id: str
    task: str
    queue: str
    reason: str
    at: float
    args: str = ""
    kwargs: str = ""
    error: str = ""
    text: str = ""
    traceback: str = ""
    worker: str = ""
    pid: int | None = None
    sent: float | None = None
    started: float | None = None
    tries: int | None = None
    has_message: bool = False
    kept: FailedTask | DeadLetter

    @property
    def message(self) -> str:
        """Its message as it was, JSON; '' if it is not kept. It may have secrets."""
        return self.kept.text

    @property
    def payload(self) -> Mapping[str, Any]:
        """Its message, decoded; empty if it is not kept, or no object."""
        try:
            found = json.loads(self.message)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """
    Which failures are meant: those that all of it applies to.

    Attributes:
        task: The task's name; `*` and `?` stand for others, as in `mail.*`.

        error: The type of the exception, with or without its module, or with `*` as
            above; or a part of what it says.

        argument: A part of the arguments, as they are shown.

        queue: Without the prefix of all keys.

        since, until: When it failed.

        crashed: Dead letters alone.
    """

    task: str | None = None
    error: str | None = None
    argument: str | None = None
    queue: str | None = None
    since: float | None = None
    until: float | None = None
    crashed: bool = False

    def is_in_time(self, at: float) -> bool:
        """Return whether one that failed at *at* may be meant."""
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)

    def matches(self, one: Failure) -> bool:
        """Return whether *one* is meant."""
        return (
            self.is_in_time(one.at)
            and (not self.task or fnmatchcase(one.task, self.task))
            and (not self.queue or one.queue == self.queue)
            and (not self.error or self._has_error(one))
            and (not self.argument or self.argument in f"{one.args} {one.kwargs}")
        )

    def _has_error(self, one: Failure) -> bool:
        wanted = self.error or ""
        names = (one.error, one.error.rpartition(".")[2])
        return any(fnmatchcase(name, wanted) for name in names) or wanted in one.text


#: Every failure.
EVERY: Final = Filter()


def of_task(task: FailedTask, at: float) -> Failure:
    """Return the failure that is kept as *task*, which failed at *at*."""
    return Failure(
        key=task.name,
        id=task.id,
        task=task.task,
        queue=task.queue,
        reason=FAILED,
        at=at,
        args=task.args,
        kwargs=task.kwargs,
        error=task.error,
        text=task.reason,
        traceback=task.traceback,
        worker=task.node,
        pid=task.pid,
        sent=task.sent,
        started=task.started,
        tries=task.tries,
        has_message=task.is_whole,
        kept=task,
    )


def of_letter(letter: DeadLetter) -> Failure:
    """Return the failure that the dead *letter* is."""
    args, kwargs = map(_shown, dead_letters.arguments(letter.payload))
    error, text = _ERRORS.get(letter.reason, ("", letter.reason))
    last = letter.crashes[-1] if letter.crashes else {}
    pid = last.get("pid")
    return Failure(
        key=letter.tag,
        id=letter.id,
        task=letter.task,
        queue=letter.queue,
        reason=letter.reason,
        at=letter.at,
        args=args,
        kwargs=kwargs,
        error=error,
        text=text,
        worker=str(last.get("node") or ""),
        pid=pid if isinstance(pid, int) else None,
        tries=len(letter.crashes) or None,
        has_message=letter.is_whole,
        kept=letter,
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return masked_repr((value if isinstance(value, str) else repr(value))[:MOST])
