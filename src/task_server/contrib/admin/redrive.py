"""Failed tasks and dead letters are sent again as they were, or dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from task_server.actions import audit
from task_server.monitor.failure import Failure
from task_server.transport.store import dead_letters, failed_tasks
from task_server.transport.store.dead_letters import DeadLetter
from task_server.transport.store.failed_tasks import FailedTask
from task_server.transport.store.keys import Keys


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of failures.

    Attributes:
        refused: Those that stay, each with the reason.

        gone: How many were not there any more.
    """

    done: int
    refused: tuple[tuple[Failure, str], ...] = ()
    gone: int = 0


def retry(client: Any, keys: Keys, found: Sequence[Failure], who: str) -> Outcome:
    """Send the messages of *found* again; each is forgotten once it is in its queue."""
    refused = [(one, "no message is kept") for one in found if not one.has_message]
    whole = [one for one in found if one.has_message]
    tasks = [(one, one.kept) for one in whole if isinstance(one.kept, FailedTask)]
    moved = failed_tasks.retry(client, keys, [(kept, one.message) for one, kept in tasks])
    letters = [one.kept for one in whole if isinstance(one.kept, DeadLetter)]
    done = len(moved.done) + dead_letters.retry(client, keys.dead_letters, letters)
    refused += [
        (one, "a worker has its message still") for one, _ in tasks if one.key in moved.busy
    ]
    for one, kept in tasks:
        problem = moved.problems.get(kept.lists[0])
        if problem and one.key not in moved.done | moved.busy:
            refused.append((one, problem))
    audit.record(client, keys, who, "failed retry", f"{done} tasks")
    return Outcome(done, tuple(refused), len(found) - done - len(refused))


def drop(client: Any, keys: Keys, found: Sequence[Failure], who: str) -> Outcome:
    """Forget *found* for good."""
    tasks = [one.kept for one in found if isinstance(one.kept, FailedTask)]
    letters = [one.kept for one in found if isinstance(one.kept, DeadLetter)]
    done = len(failed_tasks.drop(client, keys, tasks).done)
    done += dead_letters.drop(client, keys.dead_letters, letters)
    audit.record(client, keys, who, "failed drop", f"{done} tasks")
    return Outcome(done, gone=len(found) - done)
