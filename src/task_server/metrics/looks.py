"""Looks at the broker, shared by all who ask, one a second at most, and never waited for long."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from task_server.monitor.model import Snapshot

logger: Final = logging.getLogger(__name__)

#: Seconds for which a look serves all who ask.
FRESH: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """
    One look at the broker.

    Attributes:
        snapshot: None if the broker could not be read.

        reason: Why it could not; empty if it could.

        seconds: How long it took.

        ended: When it ended, by the monotonic clock.
    """

    snapshot: Snapshot | None
    reason: str = ""
    seconds: float = 0.0
    ended: float = 0.0


class Looks:
    """
    Takes looks in a thread of its own, when somebody asks.

    A Redis that hangs, or a name that does not resolve, holds up this thread alone.

    Args:
        take: Returns a snapshot, or raises.

        explain: What an error of it means, in words without a password.

        fresh: Seconds for which a look is shared.
    """

    def __init__(
        self,
        take: Callable[[], Snapshot],
        explain: Callable[[Exception], str],
        fresh: float = FRESH,
    ) -> None:
        self._take = take
        self._explain = explain
        self._fresh = fresh
        self._changed = threading.Condition()
        self._is_wanted = False
        self._count = 0
        self._last: Look | None = None
        threading.Thread(target=self._run, name="looks", daemon=True).start()

    def get(self, seconds: float) -> Look:
        """Return a look that is a second old at most; without one in *seconds*, the reason."""
        with self._changed:
            if self._last is not None and time.monotonic() - self._last.ended < self._fresh:
                return self._last
            before = self._count
            self._is_wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._count != before, seconds)
            if self._last is not None and self._count != before:
                return self._last
        return Look(snapshot=None, reason=f"Redis could not be read within {seconds:g} s")

    def last(self, age: float) -> Look | None:
        """Return the last look, without waiting, if it is not older than *age* seconds."""
        last = self._last
        return last if last is not None and time.monotonic() - last.ended < age else None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_wanted)
            look = self._look()
            self._log(look)
            with self._changed:
                self._last = look
                self._count += 1
                self._is_wanted = False
                self._changed.notify_all()

    def _look(self) -> Look:
        start = time.monotonic()
        try:
            snapshot, reason = self._take(), ""
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed
            snapshot, reason = None, self._explain(error)
        end = time.monotonic()
        return Look(snapshot=snapshot, reason=reason, seconds=end - start, ended=end)

    def _log(self, look: Look) -> None:
        """Log when the broker is lost, and when it is back."""
        before = self._last.reason if self._last else ""
        if look.reason and look.reason != before:
            logger.warning("metrics: %s", look.reason)
        elif before and not look.reason:
            logger.warning("metrics: Redis answers again")
