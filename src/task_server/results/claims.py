"""
The claim on a chord's body: that of a task, not of one of its runs.

From Celery 5.7 on the part that ends last claims the body, with a token that is new at each run,
and the claim expires: after six seconds, or while the body is published after as long as all
attempts may take. If its worker is killed then, the task is redelivered and runs again. Here that
comes at once, before the claim has expired: nobody would send the body. With a token that
the task has at each run it finds its own claim. Celery's own workers have another one: for them the
claim is released before the task is redelivered.
"""

import hashlib
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from task_server.results.scripts import CLEAN_UP, EXTEND, PART, RELEASE

#: Characters of Celery's tokens, and so of ours.
LENGTH: Final = 32


class _Tokens(threading.local):
    """Of the chords whose bodies this thread, or greenlet, is about to send: ours by Celery's."""

    def __init__(self) -> None:
        self.ours: dict[str, str] = {}


_tokens = _Tokens()


def token_of(key: Any, task_id: Any) -> str:
    """Return with what the task *task_id* claims the body of a chord, whose claim is *key*."""
    return hashlib.sha256(f"{key!r} {task_id}".encode()).hexdigest()[:LENGTH]


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
        own = token_of(keys[-1], args[0])
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
        """
        Delete what was kept for the chord, in the place of Celery's script.

        Unless the task is being stopped: it may not have sent the body, and runs again. Celery
        would take the chord for done.
        """
        token, *rest = args
        own = _tokens.ours.pop(token, token)
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, Exception):
            self._run_script(RELEASE, client, keys[:1], [own])
            return 1
        return self._run_script(CLEAN_UP, client, keys, [own, *rest])

    def release_claims(self: Any, parts: Sequence[tuple[str, str]], timeout: float) -> int:
        """
        Release the claims that *parts* of chords have, each its group and its id.

        Args:
            timeout: Seconds for a connection of its own, and again for an answer.

        Returns:
            How many were released.

        Raises:
            One of redis-py's errors.
        """
        if PART is None:
            return 0
        keys = [self.get_key_for_group(group, ".c") for group, _ in parts]
        tokens = [token_of(key, task_id) for key, (_, task_id) in zip(keys, parts, strict=True)]
        # A Unix socket has not both of them.
        timeouts = {"socket_timeout", "socket_connect_timeout"} & self.connparams.keys()
        client = self._create_client(**{**self.connparams, **dict.fromkeys(timeouts, timeout)})
        try:
            return int(RELEASE.run(client, keys, tokens))
        finally:
            client.connection_pool.disconnect()

    def _run_script(
        self: Any, script: Any, client: Any, keys: Sequence[Any], args: Sequence[Any]
    ) -> Any:
        """Run *script* by its text if the server, which may have been restarted, forgot it."""
        return self.ensure(script.run, (client or self.client, keys, args))
