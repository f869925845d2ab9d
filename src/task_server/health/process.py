"""A process and its boot: whether it still runs."""

import os


def boot_id() -> str:
    """Return the id of this boot of the machine; empty where the kernel has none."""
    return _text("/proc/sys/kernel/random/boot_id").strip()


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
        rest = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        return rest[0], int(rest[19])
    except (IndexError, ValueError):
        return None


def waited(pid: int) -> float | None:
    """
    Return for how many seconds the main thread of *pid* could have run and had no processor.

    It grows while the cgroup has used up its quota of processor time, or others are first. None
    where the kernel does not count it.
    """
    try:
        return int(_text(f"/proc/{pid}/schedstat").split()[1]) / 1e9
    except (IndexError, ValueError):
        return None


def _text(path: str) -> str:
    """Return the text of the small file *path* of the kernel; empty where there is none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(file, 4096).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(file)
