"""
What a supervisor publishes in its state folder, and whether it still runs.

    STATE/lock          locked (flock) by the supervisor that uses the folder
    STATE/owner.json    what it says of itself

The kernel drops the lock with the process, however that ends. The standard library
alone: a health check reads this.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

#: What a supervisor of this machine's other users, or of another container, does not have.
NAMESPACE = "pid_namespace"


def try_lock(handle: int, kind: int) -> bool:
    """Try to lock the open file *handle*, without waiting."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_holder(state: Path) -> dict[str, Any] | None:
    """
    Return what the supervisor that has locked the folder *state* publishes; None without one.

    The dictionary is empty between the lock and the first write.
    """
    try:
        handle = os.open(state / "lock", os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if try_lock(handle, fcntl.LOCK_SH):
            return None
    finally:
        os.close(handle)
    try:
        info = json.loads((state / "owner.json").read_text(encoding="utf-8"))
        os.kill(info["pid"], 0)
    except (FileNotFoundError, ProcessLookupError, ValueError, TypeError, KeyError):
        # A supervisor that was killed leaves its owner.json behind.
        return {}
    except PermissionError:
        pass
    return dict(info)


def pid_namespace() -> int:
    """Return a number of the processes that this one can see; 0 where systems have but one."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def up_here(state: Path) -> dict[str, Any] | None:
    """
    Return what the `up` of this user and machine in the folder *state* publishes, or None.

    A container that has the folder of a developer mounted is another machine.
    """
    try:
        info = lock_holder(state) if state.stat().st_uid == os.getuid() else None
    except OSError:
        return None
    return info if info and info.get(NAMESPACE) == pid_namespace() else None
