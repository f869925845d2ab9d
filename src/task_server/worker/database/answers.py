"""
A question to PostgreSQL whose answer is read later, or waited for only so long.

With a libpq connection, as psycopg 3 has it (`PGconn`): its methods that do not wait.
"""

import select
import time
from typing import Any, Protocol

#: libpq's ExecStatusType of an answer without an error.
_GOOD = (1, 2)  # PGRES_COMMAND_OK, PGRES_TUPLES_OK


class PGconn(Protocol):
    """What is needed of a libpq connection."""

    @property
    def socket(self) -> int:
        """Its descriptor."""

    def send_query(self, command: bytes) -> None:
        """Send *command*; raise if the connection is lost, or in use."""

    def flush(self) -> int:
        """Send what is not sent yet."""

    def consume_input(self) -> None:
        """Read what has arrived; raise if the connection is lost."""

    def is_busy(self) -> int:
        """Whether `get_result` would wait."""

    def get_result(self) -> Any:
        """Return the next result, which has a `status`; None after the last one."""


def send(pgconn: PGconn, sql: bytes) -> None:
    """
    Send *sql*, and do not wait for its answer.

    Raises:
        Exception: The driver's; the connection cannot be used.
    """
    pgconn.send_query(sql)
    pgconn.flush()


def is_answered(pgconn: PGconn, seconds: float) -> bool:
    """
    Read the answer to what was sent, and wait for it up to *seconds*.

    Returns:
        Whether it came, and was no error; else the connection cannot be used again.

    Raises:
        Exception: The driver's; the connection is lost.
    """
    deadline = time.monotonic() + seconds
    is_good = True
    while True:
        pgconn.consume_input()
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                return is_good
            is_good = is_good and result.status in _GOOD
        if not _is_readable(pgconn.socket, deadline - time.monotonic()):
            return False


def is_silent(descriptor: int) -> bool:
    """Whether nothing came: the end of the stream is something, and so is a last message."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | getattr(select, "POLLRDHUP", 0))
    return not poll.poll(0)


def _is_readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))
