"""
libpq's functions that do not wait, for a connection of psycopg2.

psycopg2 offers them in no other way; it names the connection of libpq for this purpose
(`pgconn_ptr`).
"""

import ctypes
from functools import cache
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import _psycopg, extensions

_FUNCTIONS = {
    # Name: type of the answer, types of the arguments.
    "PQsendQuery": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_char_p)),
    "PQflush": (ctypes.c_int, (ctypes.c_void_p,)),
    "PQconsumeInput": (ctypes.c_int, (ctypes.c_void_p,)),
    "PQisBusy": (ctypes.c_int, (ctypes.c_void_p,)),
    "PQgetResult": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "PQresultStatus": (ctypes.c_int, (ctypes.c_void_p,)),
    "PQclear": (None, (ctypes.c_void_p,)),
}


class Result(NamedTuple):
    """A result of libpq, of which only the status is kept."""

    status: int


@cache
def _library() -> Any:
    """
    Return the libpq that psycopg2 is linked with, which may be inside its wheel.

    Raises:
        OSError, AttributeError: It cannot be found.
    """
    # A symbol is also looked up in what the library itself is linked with.
    library = ctypes.CDLL(_psycopg.__file__)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def is_available() -> bool:
    """Whether libpq can be called beside psycopg2."""
    try:
        _library()
    except (OSError, AttributeError):
        return False
    return hasattr(extensions.connection, "pgconn_ptr")


class PGconn:
    """The libpq connection of *connection*, with methods as psycopg 3 calls them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._pointer = connection.pgconn_ptr
        self._libpq = _library()

    @property
    def socket(self) -> int:
        """Its descriptor."""
        return int(self._connection.fileno())

    def send_query(self, command: bytes) -> None:
        """Send *command*."""
        self._check(self._libpq.PQsendQuery(self._pointer, command))

    def flush(self) -> int:
        """Send what is not sent yet."""
        return int(self._libpq.PQflush(self._pointer))

    def consume_input(self) -> None:
        """Read what has arrived."""
        self._check(self._libpq.PQconsumeInput(self._pointer))

    def is_busy(self) -> int:
        """Whether `get_result` would wait."""
        return int(self._libpq.PQisBusy(self._pointer))

    def get_result(self) -> Result | None:
        """Return the next result; None after the last one."""
        pointer = self._libpq.PQgetResult(self._pointer)
        if not pointer:
            return None
        try:
            return Result(self._libpq.PQresultStatus(pointer))
        finally:
            self._libpq.PQclear(pointer)

    @staticmethod
    def _check(is_done: int) -> None:
        if not is_done:
            raise psycopg2.OperationalError("the connection to PostgreSQL is lost")
