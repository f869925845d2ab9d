"""
COPY with psycopg2 under gevent.

psycopg2 refuses COPY as long as a wait callback is set, and the callback is one
for the whole process. So this calls the same libpq that psycopg2 uses, on the
same connection, in its non-blocking way: other greenlets run while the server
does not accept or send data, and between two pieces of a fast COPY.
"""

import ctypes
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import psycopg2
from gevent._hub_local import get_hub_if_exists
from psycopg2 import _psycopg, errors, extensions
from psycopg2.sql import Composable

#: Seconds after which other greenlets run, however fast data comes and goes.
TURN = 0.01

_COPY_OUT, _COPY_IN, _BAD_RESPONSE, _FATAL_ERROR = 3, 4, 5, 7
_SQLSTATE = ord("C")

#: What psycopg2 is linked with, whether that is a library of its own wheel or the system's.
_libpq = ctypes.CDLL(_psycopg.__file__)

_SHAPES: dict[str, tuple[Any, ...]] = {
    "PQsendQuery": (ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p),
    "PQflush": (ctypes.c_int, ctypes.c_void_p),
    "PQconsumeInput": (ctypes.c_int, ctypes.c_void_p),
    "PQisBusy": (ctypes.c_int, ctypes.c_void_p),
    "PQgetResult": (ctypes.c_void_p, ctypes.c_void_p),
    "PQresultStatus": (ctypes.c_int, ctypes.c_void_p),
    "PQresultErrorMessage": (ctypes.c_char_p, ctypes.c_void_p),
    "PQresultErrorField": (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int),
    "PQcmdTuples": (ctypes.c_char_p, ctypes.c_void_p),
    "PQclear": (None, ctypes.c_void_p),
    "PQputCopyData": (ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int),
    "PQputCopyEnd": (ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p),
    "PQgetCopyData": (
        *(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_int),
    ),
    "PQfreemem": (None, ctypes.c_void_p),
    "PQerrorMessage": (ctypes.c_char_p, ctypes.c_void_p),
}
for _name, (_result, *_arguments) in _SHAPES.items():
    getattr(_libpq, _name).restype = _result
    getattr(_libpq, _name).argtypes = _arguments


class Copy:
    """
    One COPY on *connection*.

    Args:
        wait: Waits for the connection's socket; see `wait_for_socket`.
    """

    def __init__(self, connection: Any, wait: Callable[..., None]) -> None:
        self._connection = connection
        self._pointer = connection.pgconn_ptr
        self._codec = extensions.encodings[connection.encoding]
        self._wait_for = wait
        self._turn = time.monotonic()
        self._problem: BaseException | None = None

    def run(self, sql: Any, file: Any, size: int) -> int:
        """
        Run *sql*, with the data of *file* or into it, *size* bytes at a time.

        Returns:
            The number of rows; -1 where the server does not say.

        Raises:
            psycopg2.Error: As psycopg2 itself raises it.
        """
        if not _libpq.PQsendQuery(self._pointer, self._encoded(sql)):
            raise self._broken()
        self._flush()
        rows, error = -1, None
        for result in self._results():
            status = _libpq.PQresultStatus(result)
            if status == _COPY_IN:
                self._feed(file, size)
            elif status == _COPY_OUT:
                self._drain(file)
            elif status in (_BAD_RESPONSE, _FATAL_ERROR):
                error = error or self._error(result)
            else:
                count = _libpq.PQcmdTuples(result) or b""
                rows = int(count) if count.isdigit() else rows
        if self._problem is not None:
            raise error or psycopg2.DatabaseError("COPY failed") from self._problem
        if error is not None:
            raise error
        return rows

    def _results(self) -> Iterator[Any]:
        while True:
            while _libpq.PQisBusy(self._pointer):
                self._wait(write=False)
            result = _libpq.PQgetResult(self._pointer)
            if not result:
                return
            try:
                yield result
            finally:
                _libpq.PQclear(result)

    def _feed(self, file: Any, size: int) -> None:
        reason = None
        try:
            if not hasattr(file, "read"):
                message = "file must be a readable file-like object for COPY FROM"
                raise TypeError(message)  # noqa: TRY301 the server gets it as well
            while data := file.read(size):
                self._put(self._encoded(data))
        except psycopg2.Error:
            raise
        except Exception as error:  # noqa: BLE001 the server ends the COPY with it
            self._problem = error
            reason = f"error in .read() call: {type(error).__name__} {error}".encode()
        while (sent := _libpq.PQputCopyEnd(self._pointer, reason)) == 0:
            self._wait(write=True)
        if sent < 0:
            raise self._broken()
        self._flush()

    def _put(self, data: bytes) -> None:
        while (sent := _libpq.PQputCopyData(self._pointer, data, len(data))) == 0:
            self._wait(write=True)
        if sent < 0:
            raise self._broken()
        self._flush()
        self._let_others_run()

    def _drain(self, file: Any) -> None:
        pointer = ctypes.c_void_p()
        is_text = isinstance(file, io.TextIOBase)
        while (length := _libpq.PQgetCopyData(self._pointer, ctypes.byref(pointer), 1)) >= 0:
            if length == 0:
                self._wait(write=False)
                continue
            try:
                data = ctypes.string_at(pointer, length)
            finally:
                _libpq.PQfreemem(pointer)
            self._let_others_run()
            if self._problem is not None:
                continue
            try:
                file.write(data.decode(self._codec) if is_text else data)
            except Exception as error:  # noqa: BLE001 the rest has to be read first
                self._problem = error
                self._connection.cancel()
        if length < -1:
            raise self._broken()

    def _flush(self) -> None:
        while (left := _libpq.PQflush(self._pointer)) == 1:
            self._wait(write=True)
        if left < 0:
            raise self._broken()

    def _wait(self, *, write: bool) -> None:
        self._wait_for(self._connection.fileno(), write=write)
        self._turn = time.monotonic()
        if not _libpq.PQconsumeInput(self._pointer):
            raise self._broken()

    def _let_others_run(self) -> None:
        if time.monotonic() - self._turn >= TURN and get_hub_if_exists() is not None:
            gevent.sleep(0)
            self._turn = time.monotonic()

    def _encoded(self, text: Any) -> bytes:
        if isinstance(text, Composable):
            text = text.as_string(self._connection)
        return text.encode(self._codec) if isinstance(text, str) else bytes(text)

    def _error(self, result: Any) -> Exception:
        whole = (_libpq.PQresultErrorMessage(result) or b"").decode(self._codec, "replace")
        state = (_libpq.PQresultErrorField(result, _SQLSTATE) or b"").decode()
        try:
            kind = errors.lookup(state)
        except KeyError:
            kind = psycopg2.DatabaseError
        error: Any = kind(whole.partition(":  ")[2] or whole)
        # As psycopg2 makes it when it is unpickled; nothing else can set these.
        error.__setstate__({"pgerror": whole, "pgcode": state})
        raised: Exception = error
        return raised

    def _broken(self) -> Exception:
        text = (_libpq.PQerrorMessage(self._pointer) or b"").decode(self._codec, "replace")
        return psycopg2.OperationalError(text or "the connection was lost during COPY")


def copy_sql(connection: Any, table: str, sep: str, null: str, columns: Any, *, into: bool) -> str:
    """Return the statement of psycopg2's `copy_from` (*into* the table) or `copy_to`."""
    names = ""
    if columns is not None:
        names = ", ".join(extensions.quote_ident(column, connection) for column in columns)
        names = f" ({names})"
    name = extensions.quote_ident(table, connection)
    direction = "FROM STDIN" if into else "TO STDOUT"
    marks = f"DELIMITER AS {_quoted(connection, sep)} NULL AS {_quoted(connection, null)}"
    return f"COPY {name}{names} {direction} WITH {marks}"


def _quoted(connection: Any, text: str) -> str:
    quoted = extensions.QuotedString(text)
    quoted.prepare(connection)
    return quoted.getquoted().decode(extensions.encodings[connection.encoding])
