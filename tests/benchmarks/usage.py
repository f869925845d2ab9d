"""What a family of processes uses: processor time and memory, read from /proc."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")

#: Fields of /proc/PID/stat behind the name: the session, and the times of the
#: process and of those of its children that have ended.
_SESSION, _TIMES = 3, slice(11, 15)


def _stat(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def session(leader: int) -> Iterator[str]:
    """Yield the pids of the session that *leader* has made, threads not among them."""
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError):
                if _stat(each.name)[_SESSION] == str(leader):
                    yield each.name


def cpu(leader: int) -> float:
    """Return the seconds of processor time of a session, of its ended processes, too."""
    ticks = 0
    for each in session(leader):
        with suppress(OSError):
            ticks += sum(int(field) for field in _stat(each)[_TIMES])
    return ticks / TICK


def cpu_of(pid: int) -> float:
    """Return the seconds of processor time of one process."""
    return sum(int(field) for field in _stat(str(pid))[_TIMES]) / TICK


def pss(leader: int) -> int:
    """Return the bytes of a session, what processes share counted once (PSS)."""
    kib = 0
    for each in session(leader):
        with suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
    return kib * 1024
