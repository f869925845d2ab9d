"""
Large objects with psycopg2 under gevent.

psycopg2's own wait in libpq, and refuse to with a wait callback. The server has
a function in SQL for each of libpq's, which wait as any query does.
"""

from pathlib import Path
from typing import Any, Self

import psycopg2
from psycopg2 import extensions

_WRITE, _READ = 0x20000, 0x40000
#: Bytes of a file that are in memory at once.
_PIECE = 1 << 20


class LargeObject:
    """As `psycopg2.extensions.lobject`, with the same arguments and methods."""

    def __init__(
        self,
        connection: Any,
        oid: int = 0,
        mode: str = "",
        new_oid: int = 0,
        new_file: str | None = None,
    ) -> None:
        if set(mode) - set("rwnbt"):
            message = f"invalid mode for lobject: {mode!r}"
            raise TypeError(message)
        self._connection = connection
        self._descriptor: int | None = None
        if connection.autocommit:
            raise psycopg2.ProgrammingError("can't use a lobject outside of transactions")
        is_new = oid == 0
        self.oid = int(self._ask("SELECT lo_create(%s)", new_oid)) if is_new else oid
        self._is_text = "b" not in mode
        access = "".join(letter for letter in mode if letter in "rwn")
        if not access:
            access = "w" if is_new else "r"
        self.mode = access + ("t" if self._is_text else "b")
        if new_file is not None:
            self._import(Path(new_file))
        if "n" not in access:
            flags = _WRITE * ("w" in access) | _READ * ("r" in access)
            self._descriptor = int(self._ask("SELECT lo_open(%s, %s)", self.oid, flags))

    @property
    def closed(self) -> bool:
        """Whether it is closed, and so cannot be read or written."""
        return self._descriptor is None or bool(self._connection.closed)

    def read(self, size: int = -1) -> "bytes | str":
        """Return at most *size* bytes (all, if it is negative), decoded in text mode."""
        pieces = []
        while size != 0:
            wanted = _PIECE if size < 0 else min(size, _PIECE)
            piece = bytes(self._ask("SELECT loread(%s, %s)", self._open(), wanted))
            if not piece:
                break
            pieces.append(piece)
            size = size if size < 0 else size - len(piece)
        data = b"".join(pieces)
        return data.decode(self._codec()) if self._is_text else data

    def write(self, data: "bytes | str") -> int:
        """Write *data*; return how many bytes were written."""
        whole = data.encode(self._codec()) if isinstance(data, str) else bytes(data)
        for start in range(0, len(whole), _PIECE):
            piece = psycopg2.Binary(whole[start : start + _PIECE])
            self._ask("SELECT lowrite(%s, %s)", self._open(), piece)
        return len(whole)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to *offset* from the start, from here (1) or from the end (2)."""
        return int(self._ask("SELECT lo_lseek64(%s, %s, %s)", self._open(), offset, whence))

    def tell(self) -> int:
        """Return the position in it."""
        return int(self._ask("SELECT lo_tell64(%s)", self._open()))

    def truncate(self, length: int = 0) -> None:
        """Truncate or extend it to *length* bytes."""
        self._ask("SELECT lo_truncate64(%s, %s)", self._open(), length)

    def export(self, filename: str) -> None:
        """Write it to the file *filename* of this machine."""
        descriptor = int(self._ask("SELECT lo_open(%s, %s)", self.oid, _READ))
        with Path(filename).open("wb") as file:
            while piece := bytes(self._ask("SELECT loread(%s, %s)", descriptor, _PIECE)):
                file.write(piece)
        self._ask("SELECT lo_close(%s)", descriptor)

    def unlink(self) -> None:
        """Delete it."""
        self.close()
        self._ask("SELECT lo_unlink(%s)", self.oid)

    def close(self) -> None:
        """Close it; in a failed transaction the server has done so."""
        descriptor, self._descriptor = self._descriptor, None
        good = (extensions.TRANSACTION_STATUS_INTRANS, extensions.TRANSACTION_STATUS_ACTIVE)
        if descriptor is not None and self._connection.get_transaction_status() in good:
            self._ask("SELECT lo_close(%s)", descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _import(self, file: Path) -> None:
        descriptor = int(self._ask("SELECT lo_open(%s, %s)", self.oid, _WRITE))
        with file.open("rb") as source:
            while piece := source.read(_PIECE):
                self._ask("SELECT lowrite(%s, %s)", descriptor, psycopg2.Binary(piece))
        self._ask("SELECT lo_close(%s)", descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            raise psycopg2.InterfaceError("lobject already closed")
        return self._descriptor

    def _codec(self) -> str:
        return extensions.encodings[self._connection.encoding]

    def _ask(self, sql: str, *values: Any) -> Any:
        with self._connection.cursor(cursor_factory=extensions.cursor) as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone()[0]
