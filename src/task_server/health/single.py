"""
One process at a time writes a heartbeat: a lock beside it, NAME.lock.

A second worker of the same name and folder would overwrite the first one's heartbeat, and
each health check would be answered for either. The lock is the kernel's, and of this process
alone (fcntl's record lock): it goes with the process however that ends, and its children,
which may outlive it for a moment, do not have it.
"""

import errno
import fcntl
import os
import struct
from pathlib import Path

from task_server.errors import ConfigError, Problem
from task_server.health import private_folder

#: struct flock of 64-bit Linux: type, whence, start, length, pid.
_FLOCK = "hhqqi4x"

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: Kept open: to close any descriptor of the file would give the lock up.
_held: dict[Path, int] = {}


def hold(heartbeat: Path, title: str) -> None:
    """
    Take the lock of the file *heartbeat*, for as long as this process lives.

    Where the folder cannot be written nothing is locked: no heartbeat will be there either.

    Args:
        title: Whose heartbeat it is, for people.

    Raises:
        ConfigError: When another process has it.
    """
    path = heartbeat.with_suffix(".lock")
    if path in _held:
        return
    try:
        folder = private_folder.open_folder(path.parent, os.geteuid())
    except OSError:
        return
    try:
        file = os.open(path.name, _FLAGS, 0o600, dir_fd=folder)
    except OSError:
        return
    finally:
        os.close(folder)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        other = _holder(file)
        os.close(file)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise ConfigError([_problem(heartbeat, title, other)]) from None
        return
    _held[path] = file


def _problem(heartbeat: Path, title: str, pid: int) -> Problem:
    who = f"process {pid}" if pid else "a process of another container"
    return Problem(
        "runtime_dir",
        f"the {title} runs already: {who} writes {heartbeat}; end that one first, give this one "
        "another name, or set another runtime_dir",
    )


def _holder(file: int) -> int:
    """Return the pid of the process that has the lock; 0 if it cannot be seen from here."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))[4]
    except (OSError, struct.error):
        return 0
    return int(max(0, pid))
