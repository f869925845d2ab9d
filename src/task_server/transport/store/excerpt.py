"""Text that anybody can write to Redis, for a line of a log."""

from typing import Any, Final

#: Characters of a message, or of a reason, in a log line at most.
MAX_EXCERPT: Final = 200


def excerpt(text: Any) -> str:
    """Return the beginning of *text* for a line of a log: escaped, and of bounded length."""
    if isinstance(text, bytes):
        text = text[: MAX_EXCERPT * 4].decode("utf-8", "backslashreplace")
    shown = ascii(str(text)[:MAX_EXCERPT])[1:-1]
    return shown if len(shown) <= MAX_EXCERPT else f"{shown[:MAX_EXCERPT]}…"
