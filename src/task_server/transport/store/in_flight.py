"""Messages in flight: delivered and not acknowledged; who has each, and since when."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from time import monotonic
from typing import Any, Final

from task_server.transport.store.keys import Keys
from task_server.transport.store.portions import SCAN_SECONDS, SCANNED_FIRST, SCANNED_MOST
from task_server.transport.store.scripts import IN_FLIGHT

#: Fields of one message in the answer of the script.
WIDTH: Final = 12

#: What precedes the tag of a message that cannot be read and could not be moved.
UNREADABLE: Final = "unreadable:"


@dataclass(frozen=True, slots=True)
class InFlight:
    """
    One message in flight. Times are seconds since 1970, by the server's clock.

    Attributes:
        queue: Without the prefix of all keys; of a message that Kombu's transport
            fetched its routing key, which is the queue unless an exchange is named.

        node, pid, run: Its owner; '' or None where Kombu's transport fetched it.

        fetched_at: None where the entry does not say.

        renewed_at: When its owner last renewed its lease; for Kombu's transport the
            time of the fetch.

        lease: Seconds; None where it has none.
    """

    tag: str
    task: str
    id: str
    queue: str
    node: str
    pid: int | None
    run: str
    fetched_at: float | None
    renewed_at: float | None
    lease: float | None

    @property
    def lease_until(self) -> float | None:
        """Until when nobody else takes it; None without a lease."""
        if self.lease is None or self.renewed_at is None:
            return None
        return self.renewed_at + self.lease


def all_of(client: Any, keys: Keys) -> Iterator[list[InFlight]]:
    """
    Return the messages in flight, some at a time; one may come twice.

    Each step takes the server some milliseconds, whatever the size of the messages.

    Args:
        client: A Redis client that adds no prefix.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    cursor, count = "0", SCANNED_FIRST
    while True:
        started = monotonic()
        cursor, *found = (
            one.decode("utf-8", "replace")
            for one in IN_FLIGHT.run(client, keys.unacked_and_times, [cursor, count])
        )
        is_quick = monotonic() - started < SCAN_SECONDS
        count = min(SCANNED_MOST, count * 2) if is_quick else max(SCANNED_FIRST, count // 2)
        yield [_read(keys, *found[first : first + WIDTH]) for first in range(0, len(found), WIDTH)]
        if cursor == "0":
            return


def _read(keys: Keys, tag: str, renewed: str, task: str, id_: str, *rest: str) -> InFlight:
    list_, _exchange, routing_key, node, pid, run, fetched, lease = rest
    number = _number(pid)
    return InFlight(
        tag=tag,
        task=task,
        id=id_,
        queue=keys.queue_of(list_) if list_ else routing_key,
        node=node,
        pid=None if number is None else int(number),
        run=run,
        fetched_at=_number(fetched),
        renewed_at=_number(renewed),
        lease=_number(lease),
    )


def _number(text: str) -> float | None:
    """Return the number *text*; None if it is none: anyone can write one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None
