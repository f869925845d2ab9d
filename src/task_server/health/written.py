"""
The few settings that a health check needs, read without the configuration's own reader.

From the same places, in the same order: the variable, then the file. Whatever else may give one
(a file named by …_FILE), and whatever is wrong, is not read here but by `config.loader`.
"""

import os
import stat
from collections.abc import Mapping
from typing import Any

#: Of a file of settings; a larger one is none.
MOST_BYTES = 2**20

#: Of TCP; Python reads no number of thousands of digits.
MOST_PORT, DIGITS = 2**16 - 1, 5

#: How TOML writes a letter as a number, also in a name.
ESCAPES = (b"\\u", b"\\U", b"\\x")


class NotReadError(ValueError):
    """Raised for a setting that the complete reader must read."""


class Written:
    """The settings that *environ* and the configuration file of this folder give."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._data: bytes | None = None
        self._document: dict[str, Any] | None = None

    def text(self, setting: str, *, may_be_empty: bool = False) -> str | None:
        """
        Return the text that the dotted name *setting* has; None where nothing gives one.

        Raises:
            NotReadError: When the complete reader must read it.
        """
        given = self._given(setting)
        if given is None:
            return None
        if not isinstance(given, str) or not given.isprintable():
            raise NotReadError(setting)
        text = given.strip()
        if not text and not may_be_empty:
            raise NotReadError(setting)
        return text

    def port(self, setting: str) -> int | None:
        """
        Return the port that *setting* has; None where nothing gives one.

        Raises:
            NotReadError: When it is none, as what a cluster writes for a service of that name.
        """
        given = self._given(setting)
        if given is None:
            return None
        text = str(given).strip()
        is_short = text.isascii() and text.isdigit() and len(text) <= DIGITS
        if isinstance(given, bool) or not is_short or int(text) > MOST_PORT:
            raise NotReadError(setting)
        return int(text)

    def _given(self, setting: str) -> Any:
        name = f"TASK_SERVER_{setting}".upper().replace(".", "_")
        if f"{name}_FILE" in self._environ:
            raise NotReadError(name)
        if name in self._environ:
            return self._environ[name]
        try:
            return self._in_file(setting)
        except (OSError, ValueError, AttributeError, RecursionError):
            raise NotReadError(setting) from None

    def _in_file(self, setting: str) -> Any:
        """Return what the file says of *setting*; it is parsed only if the name is there."""
        table, _, name = setting.rpartition(".")
        named = self._environ.get("TASK_SERVER_CONFIG")
        path = named or _found()
        if path is None:
            return None
        if self._data is None:
            self._data = _read(path)
        is_project = os.path.basename(path) == "pyproject.toml"  # noqa: PTH119 - without pathlib
        # As `config.loader.find` has it; who names the file means it.
        if is_project and not named and b"[tool.task-server" not in self._data:
            return None
        if any(one in self._data for one in ESCAPES):
            raise NotReadError(path)
        if name.encode() not in self._data:
            return None
        if self._document is None:
            import tomllib  # noqa: PLC0415 - for those who set it in the file

            self._document = tomllib.loads(self._data.decode("utf-8-sig"))
            if is_project:
                self._document = self._document.get("tool", {}).get("task-server", {})
        return (self._document.get(table, {}) if table else self._document).get(name)


def _found() -> str | None:
    """Return the configuration file of this folder, as `config.loader.find` does."""
    names = ("task-server.toml", "pyproject.toml")
    return next((one for one in names if os.path.lexists(one)), None)


def _read(path: str) -> bytes:
    # As `config.files.read_text` does: a pipe would let it wait.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise NotReadError(path)
        data = os.read(file, MOST_BYTES)
    finally:
        os.close(file)
    if len(data) == MOST_BYTES:
        raise NotReadError(path)
    return data
