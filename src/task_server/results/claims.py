"""
The claim on a chord's body: that of a task, not of one of its runs.

From Celery 5.7 on the part that ends last claims the body, with a token that is new at each run,
and the claim expires: after six seconds, or while the body is published after as long as all
attempts may take. If its worker is killed then, the task is redelivered and runs again. Here that
comes at once, before the claim has expired: nobody would send the body. With a token that
the task has at each run it finds its own claim.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

from task_server.results.scripts import CLEAN_UP, EXTEND


class _Tokens(threading.local):
    """Of the chords whose bodies this thread, or greenlet, is about to send: ours by Celery's."""

    def __init__(self) -> None:
        self.ours: dict[str, str] = {}


_tokens = _Tokens()


class Claims:
    """Mixed into Celery's Redis backend: its scripts get our token."""

    def _part_with_claim(
        self, count: Callable[[Sequence[Any]], Sequence[Any]], keys: Sequence[Any], args: Any
    ) -> Sequence[Any]:
        """
        Return what *count* answers to the arguments of Celery's script, with our token.

        Args:
            args: The first is the task's id, the last Celery's token.
        """
        token = str(args[-1])
        own = hashlib.sha256(f"{keys[-1]!r} {args[0]}".encode()).hexdigest()[: len(token)]
        answer = count([*args[:-1], own])
        if answer[-1]:
            _tokens.ours[token] = own
        return answer

    def _chord_claim_extend_script(
        self: Any, keys: Sequence[Any], args: Sequence[Any], client: Any = None
    ) -> Any:
        """Keep the claim while the body is published, in the place of Celery's script."""
        token, *rest = args
        return self._run_script(EXTEND, client, keys, [_tokens.ours.get(token, token), *rest])

    def _chord_cleanup_script(
        self: Any, keys: Sequence[Any], args: Sequence[Any], client: Any = None
    ) -> Any:
        """Delete what was kept for the chord, in the place of Celery's script."""
        token, *rest = args
        return self._run_script(CLEAN_UP, client, keys, [_tokens.ours.pop(token, token), *rest])

    def _run_script(
        self: Any, script: Any, client: Any, keys: Sequence[Any], args: Sequence[Any]
    ) -> Any:
        """Run *script* by its text if the server, which may have been restarted, forgot it."""
        return self.ensure(script.run, (client or self.client, keys, args))
