"""
The output of `up` in its state folder, bounded: written by it, read by `logs` and by `up` again.

    STATE/log/up.log      name | line, as on the terminal, without colour
    STATE/log/up.log.1    what came before, of this `up` or of an earlier one
"""

import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Self

#: At this size a file becomes the older one, and replaces that. Bytes.
MAX_BYTES = 5 * 1024 * 1024

#: A reader takes so much at once. Bytes.
_CHUNK = 64 * 1024

_LINE = re.compile(r"(?P<name>\S+) *\| ?(?P<text>.*)")


def log_path(state: Path) -> Path:
    """Return where the log of the state folder *state* lies."""
    return state / "log" / "up.log"


def older(path: Path) -> Path:
    """Return the file that *path* becomes."""
    return path.with_name(f"{path.name}.1")


class LogFile:
    """
    Appends lines to *path*.

    Args:
        on_error: Is told once in a row of failures that a line could not be written; the
            program goes on.
    """

    def __init__(
        self, path: Path, on_error: Callable[[OSError], None], most: int = MAX_BYTES
    ) -> None:
        self._path = path
        self._on_error = on_error
        self._most = most
        self._file = -1
        self._size = 0
        self._failing = False

    def write(self, line: str) -> None:
        """Append *line*, which ends with a line break."""
        raw = line.encode("utf-8", "backslashreplace")
        try:
            if self._file < 0:
                self._open()
            if self._size and self._size + len(raw) > self._most:
                self.close()
                self._path.replace(older(self._path))
                self._open()
            self._size += os.write(self._file, raw)
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._failing = True
                self._on_error(error)

    def close(self) -> None:
        """Close the file; a further line opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._file).st_size


def split(line: str) -> tuple[str, str]:
    """Return the name and the text of *line* of a log; without a name, of ours."""
    match = _LINE.fullmatch(line)
    return (match["name"], match["text"]) if match else ("", line)


class Reader:
    """Reads the log at *path*; `read` gives what is new, also after the file was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._rest = b""
        self._open()

    @classmethod
    def whole(cls, path: Path) -> Iterator[str]:
        """Yield the lines of the file at *path*, which is written no more."""
        with cls(path) as reader:
            yield from reader._read_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def skip(self) -> None:
        """Go to the end, so that `read` begins there."""
        if self._file >= 0:
            os.lseek(self._file, 0, os.SEEK_END)

    def read(self) -> Iterator[str]:
        """Yield the lines that were written since; without their line breaks."""
        while True:
            yield from self._read_file()
            if not self._replaced():
                return
            # Whatever came between the two looks.
            yield from self._read_file()
            self.__exit__()
            self._open()

    def _open(self) -> None:
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._file = -1

    def _replaced(self) -> bool:
        """Return whether the path leads to another file than the open one."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return self._file < 0 or os.fstat(self._file).st_ino != there.st_ino

    def _read_file(self) -> Iterator[str]:
        while self._file >= 0 and (chunk := os.read(self._file, _CHUNK)):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace")


def of_names(lines: Iterator[str], names: Collection[str]) -> Iterator[str]:
    """Yield those of *lines* that are of *names*; all of them without names."""
    return (line for line in lines if not names or split(line)[0] in names)
