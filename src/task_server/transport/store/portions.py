"""What one call to Redis handles: bounded by bytes as well as by count."""

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, Final, TypeVar

from task_server.transport.store.scripts import BATCH

#: Bytes of messages in one call; a larger message goes alone. Redis serves no other
#: client meanwhile. The scripts have the same number.
BYTES: Final = 1 << 20

#: Fields that one step of a scan reads: at first, and at most.
SCANNED_FIRST: Final = 10
SCANNED_MOST: Final = 500

#: Seconds that one step of a scan should take.
SCAN_SECONDS: Final = 0.005

_T = TypeVar("_T")


def portions(items: Iterable[_T], size: Callable[[_T], int]) -> Iterator[list[_T]]:
    """
    Split *items*, in their order, into what one call handles; *size* is in bytes.

    One that is larger than all of `BYTES` is a portion of its own.
    """
    portion: list[_T] = []
    left = BYTES
    for item in items:
        needed = size(item)
        if portion and (needed > left or len(portion) == BATCH):
            yield portion
            portion, left = [], BYTES
        portion.append(item)
        left -= needed
    if portion:
        yield portion


def scanned(client: Any, key: str, match: str | None = None) -> Iterator[dict[bytes, bytes]]:
    """
    Return the hash *key*, some fields at a time; a field may come twice.

    A step reads as many as Redis reads in a few milliseconds: before 7.2 it copies
    their values, which may be large, even of those that do not match.

    *client* is a Redis client that adds no prefix.
    """
    cursor, count = None, SCANNED_FIRST
    while cursor != 0:
        started = monotonic()
        cursor, page = client.hscan(key, cursor or 0, match=match, count=count)
        is_quick = monotonic() - started < SCAN_SECONDS
        count = min(SCANNED_MOST, count * 2) if is_quick else max(SCANNED_FIRST, count // 2)
        if page:
            yield page
