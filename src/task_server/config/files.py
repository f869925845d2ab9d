"""Small text files that are read at the start: never one that waits, never without a reason."""

import os
import stat
from pathlib import Path

#: More than anybody writes by hand.
MOST_BYTES = 2**20


def read_text(path: Path) -> str:
    """
    Return the text of *path*; an editor's byte order mark is not part of it.

    Opening a pipe waits for a writer, so only a regular file is read (and /dev/null,
    which says "none").

    Raises:
        ValueError: When that is not possible; it says why.
    """
    try:
        # Not blocking: the open itself of a pipe waits for a writer.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except ValueError:
        raise ValueError("cannot be read (no path has a NUL in it)") from None
    try:
        mode = os.fstat(number).st_mode
        if not stat.S_ISREG(mode):
            if path == Path(os.devnull):
                return ""
            raise ValueError(f"is {_kind(mode)}, not a file")
        data = b""
        while len(data) <= MOST_BYTES and (more := os.read(number, MOST_BYTES)):
            data += more
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    finally:
        os.close(number)
    if len(data) > MOST_BYTES:
        raise ValueError(f"is larger than {MOST_BYTES >> 10} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not text in UTF-8 (see its byte {error.start + 1})") from None


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for is_kind, name in kinds if is_kind(mode)), "a device")
