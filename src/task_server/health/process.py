"""A process and its boot: whether it still runs."""

import os
from pathlib import Path


def boot_id() -> str:
    """Return the id of this boot of the machine; empty where the kernel has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def is_running(pid: int, pid_start: int | None) -> bool:
    """Whether the process *pid* that started at *pid_start* exists and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    status = process_status(pid)
    if status is None:
        return True
    state, start = status
    return state not in "ZX" and pid_start in (None, start)


def is_stopped(pid: int) -> bool:
    """Whether a signal, such as SIGSTOP, or a debugger has stopped the process *pid*."""
    status = process_status(pid)
    return status is not None and status[0] in "Tt"


def process_status(pid: int) -> tuple[str, int] | None:
    """Return the state letter of *pid* and its start in ticks; None without /proc."""
    try:
        # The name, in parentheses, may contain spaces and parentheses.
        rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return rest[0], int(rest[19])
    except (OSError, IndexError, ValueError):
        return None
