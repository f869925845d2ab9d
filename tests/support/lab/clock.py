"""A clock that a test sets, for one process and its children."""

from pathlib import Path

#: Where Debian's package `libfaketime` puts it, and others do.
PLACES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib*/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


class Clock:
    """A wall clock; the monotonic clock is left alone, as it is when someone sets a clock."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "clock"
        self.set(0)

    def set(self, seconds: int) -> None:
        """Let it differ from the true time by *seconds*."""
        draft = self._path.with_suffix(".new")
        draft.write_text(f"{seconds:+d}\n")
        draft.replace(self._path)

    def environ(self) -> dict[str, str]:
        """
        Return the variables with which a process goes by this clock.

        Raises:
            FileNotFoundError: libfaketime is not there.
        """
        found = [path for pattern in PLACES for path in Path("/").glob(pattern[1:])]
        if not found:
            raise FileNotFoundError("there is no libfaketimeMT.so.1")
        return {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
