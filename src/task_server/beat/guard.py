"""What stands between a scheduler and a send: the lock is ours, and the run is recorded."""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery.schedules import schedstate

from task_server.beat.lock import Lock, LockError

logger = logging.getLogger("task_server.beat")

#: Of the time after which the lock expires, until it is renewed.
RENEWAL = 1 / 3


class LockLostError(BaseException):
    """
    Raised out of a scheduler's tick: the lock is not ours any more.

    As `LockAwayError` it is no Exception, which schedulers catch and log.
    """


class LockAwayError(BaseException):
    """Raised out of a scheduler's tick: *cause* kept us from asking for the lock."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = getattr(cause, "cause", cause)


class Guard:
    """
    Lets a scheduler send what *lock* allows.

    Args:
        lock: None allows all.

        sent: Called with the name of each entry that was sent.

    Attributes:
        runs: When each entry was last sent, by the server's clock.
    """

    def __init__(self, lock: Lock | None, sent: Callable[[str], None]) -> None:
        self.runs: dict[str, float] = {}
        self._lock = lock
        self._sent = sent
        self._renewed = 0.0
        self._granted: str | None = None
        self._failed: set[str] = set()

    def install(self, scheduler: Any) -> None:
        """Ask before each entry that *scheduler* sends."""
        is_due, apply_async = scheduler.is_due, scheduler.apply_async

        def guarded_is_due(entry: Any) -> Any:
            try:
                found = is_due(entry)
            except Exception as error:  # noqa: BLE001 - one entry must not stop the others
                self._report(entry, error)
                return schedstate(False, scheduler.max_interval)
            if found[0]:
                self.hold(entry.name)
                self._granted = entry.name
            return found

        def guarded_apply_async(entry: Any, *args: Any, **kwargs: Any) -> Any:
            # A scheduler of another make may not have asked.
            if self._granted != entry.name:
                self.hold(entry.name)
            self._granted = None
            result = apply_async(entry, *args, **kwargs)
            self._sent(entry.name)
            return result

        scheduler.is_due = guarded_is_due
        scheduler.apply_async = guarded_apply_async

    def hold(self, *entries: str) -> None:
        """
        Renew the lock; record that *entries* are about to be sent.

        Raises:
            LockLostError: When it is not ours.
            LockAwayError: When Redis does not answer, or refuses.
        """
        if self._lock is None:
            return
        try:
            at = self._lock.hold(*entries)
        except LockError as error:
            raise LockAwayError(error) from error
        if at is None:
            raise LockLostError
        self.renewed()
        self.runs.update(dict.fromkeys(entries, at))

    def renewed(self) -> None:
        """Record that the lock is ours from now on."""
        self._renewed = time.monotonic()

    def next_renewal(self) -> float:
        """Return the seconds until the lock is to be renewed; without a lock, many."""
        if self._lock is None:
            return float("inf")
        return self._renewed + self._lock.seconds * RENEWAL - time.monotonic()

    def wait(self, seconds: float, wait: Callable[[float], None], each: Callable[[], None]) -> None:
        """Hold the lock for *seconds*, calling *wait* and *each* in between."""
        assert self._lock is not None  # noqa: S101 - there is nothing to wait for without
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            each()
            self.hold()
            wait(min(left, self._lock.seconds * RENEWAL))

    def _report(self, entry: Any, error: Exception) -> None:
        if entry.name not in self._failed:
            self._failed.add(entry.name)
            logger.error(
                "beat: the next run of %r cannot be calculated, it is tried again later: %s: %s",
                entry.name,
                type(error).__name__,
                error,
            )
