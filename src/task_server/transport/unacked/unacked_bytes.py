"""The bytes of the messages that consumers have: bounded, as their number is."""

import logging
from typing import Any, Final

logger: Final = logging.getLogger(__name__)

#: Smaller messages are bounded by their number: 2,048 of them are 32 MB.
SMALL: Final = 1 << 14


class UnackedBytes:
    """
    The large messages that the consumers of one channel have not acknowledged.

    Messages with an ETA do not count: they may wait for days, and nothing else would
    be fetched meanwhile.

    Args:
        most: Bytes from which on nothing more is fetched; 0 is no bound.
    """

    def __init__(self, most: int = 0) -> None:
        self._most = most
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._has_logged = False

    def add(self, tag: str, size: int, payload: Any) -> None:
        """Count the message of *tag*, which has *size* bytes as text."""
        if not self._most or size <= SMALL or tag in self._sizes or _has_eta(payload):
            return
        self._sizes[tag] = size
        self._bytes += size

    def remove(self, tag: str) -> None:
        """Count the message of *tag* no longer."""
        if self._sizes:
            self._bytes -= self._sizes.pop(tag, 0)

    def clear(self) -> None:
        """Count no message any more."""
        self._sizes.clear()
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be fetched until one of them is acknowledged."""
        is_full = bool(self._most) and self._bytes >= self._most
        if is_full and not self._has_logged:
            self._has_logged = True
            logger.info(
                "%d messages here have %d MB; more are fetched when some are done "
                "(prefetch_bytes is %d)",
                *(len(self._sizes), self._bytes >> 20, self._most),
            )
        return is_full


def _has_eta(payload: Any) -> bool:
    headers = payload.get("headers")
    return isinstance(headers, dict) and bool(headers.get("eta"))
