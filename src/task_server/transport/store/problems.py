"""What could not be done in Redis: logged once, with the key and the repair."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

from kombu.utils.encoding import bytes_to_str

from task_server.transport.store.rights import is_refusal

logger: Final = logging.getLogger(__name__)

#: Problems that are remembered as logged.
MAX_LOGGED: Final = 1000


class Problems:
    """The problems of one channel, each logged once."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str]] = set()

    def of_fetch(self, problems: Sequence[bytes], lists: Iterable[str]) -> str | None:
        """
        Log *problems*: key, error, key, error, and so on.

        Return the one of one of the *lists* of the queues, which gives no
        message until it is repaired. A worker can do without all other keys.
        """
        queues, found = set(lists), None
        for key, error in zip(problems[::2], problems[1::2], strict=True):
            name, text = bytes_to_str(key), bytes_to_str(error)
            if name in queues:
                found = f"the queue {name} gives no messages: {text}"
                self._log(logging.ERROR, "the queue %s gives no messages: %s; %s", name, text)
            else:
                self.optional(name, text)
        return found

    def of_restore(self, problems: Sequence[bytes]) -> None:
        """Log *problems*, as above: messages that stay unacked as they cannot go there."""
        for key, error in zip(problems[::2], problems[1::2], strict=True):
            name, text = bytes_to_str(key), bytes_to_str(error)
            self._log(logging.ERROR, "unacked messages cannot go to %s: %s; %s", name, text)

    def optional(self, key: str, error: str) -> None:
        """Log that this worker does without *key*."""
        self._log(logging.WARNING, "this worker does without the key %s: %s; %s", key, error)

    def _log(self, level: int, words: str, key: str, error: str) -> None:
        # The error of a script and that of a command are the same problem.
        problem = (key, error.removeprefix("ERR ").removeprefix("ACL failure in script: "))
        if problem not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(problem)
            logger.log(level, words, key, error, repair(key, error))


def repair(key: str, error: Any) -> str:
    """Return what the operator can do about *error* of *key*."""
    text = str(error)
    if "WRONGTYPE" in text:
        return f"something else was written there: rename or delete it (RENAME {key} {key}.old)"
    if is_refusal(error):
        lacking = f"the key (~{key})" if " key" in text or "access" in text else "a right"
        return f"the user of the broker URL lacks {lacking}: see `task-server check --live`"
    return "see the log of Redis"
