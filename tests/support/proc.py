"""What /proc says of processes, any of which may end while it is read."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def pids() -> list[int]:
    """Return the processes that there are now."""
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def state(pid: int) -> str:
    """Return the letter of its state, Z for one that has not been waited for; empty without it."""
    return (_words(pid) or [""])[0]


def parent(pid: int) -> int:
    """Return its parent; 0 without the process."""
    return int((_words(pid) or ["", "0"])[1])


def parents() -> dict[int, int]:
    """Return the parent of each process, by pid."""
    found = {pid: parent(pid) for pid in pids()}
    return {pid: above for pid, above in found.items() if above}


def children(pid: int) -> list[int]:
    """Return its children; none without the process."""
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def open_files(pid: int) -> Iterator[Path]:
    """Return what its file descriptors are."""
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield link.readlink()


def _words(pid: int) -> list[str]:
    """Return the words of its stat file after the name, which is in brackets and may be odd."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return []
