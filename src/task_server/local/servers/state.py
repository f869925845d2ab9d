"""
The state folder: the data of the local servers, their sockets, and the lock
that says which supervisor uses them.

    STATE/
      redis/         append-only files
      postgres/      the cluster
      run/           sockets (or a private folder in /tmp, see `socket_folder`)
      lock           locked (flock) by the supervisor that uses the folder
      owner.json     its pid, its project, its socket, the address of its Flower
      log/           what it wrote, see `task_server.local.log_file`
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from task_server.errors import LocalServerError
from task_server.health.published import lock_holder, try_lock

#: Longest path of a socket folder: sun_path holds 107 bytes and a NUL on
#: Linux, 103 on macOS, less "/.s.PGSQL.65535" and a little room.
MAX_SOCKET_FOLDER = 80

#: urllib lower-cases the host of a URL, even if it is a quoted path; so a folder
#: in DATABASE_URL may have these characters only.
_FITS_A_URL = re.compile(r"[a-z0-9/._-]+")

#: What initdb, its write-ahead log and an append-only file need at first. Bytes.
REQUIRED_SPACE = 120 * 1024 * 1024


def explain(error: OSError, path: Path) -> LocalServerError:
    """Return what *error* on *path* means and how to repair it."""
    choose = "or choose another folder for the state"
    hints = {
        errno.EROFS: f"the disk is read-only; make it writable {choose}",
        errno.ENOSPC: f"the disk is full; free some space {choose}",
        errno.EDQUOT: f"the disk quota is used up; free some space {choose}",
        errno.EACCES: f"this user may not write there; change its owner {choose}",
        errno.EPERM: f"this user may not write there; change its owner {choose}",
        errno.ENOTDIR: f"a part of the path is a file; remove it {choose}",
        errno.EEXIST: f"it is a file; remove it {choose}",
    }
    hint = hints.get(error.errno or 0, f"{error.strerror or error}; fix it {choose}")
    return LocalServerError(f"Cannot keep state in {path}: {hint}.")


class LockedError(LocalServerError):
    """Raised when another supervisor has locked the state folder."""


@dataclass
class Lock:
    """The lock on a state folder while it is held; `update` changes what others read."""

    _path: Path
    info: dict[str, Any]

    def update(self, **info: object) -> None:
        """
        Add *info* to what `State.lock_holder` returns to other processes.

        Raises:
            LocalServerError: It cannot be written.
        """
        self.info.update(info)
        draft = self._path.with_suffix(".new")
        try:
            draft.write_text(json.dumps(self.info), encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            raise explain(error, self._path.parent) from error


@dataclass(frozen=True, slots=True)
class State:
    """One state folder; `path` is absolute, with links resolved."""

    path: Path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "State":
        """
        Create the folder at *path* if needed, and check that it can be written.

        Raises:
            LocalServerError: It cannot be created or written, or the disk is full.
        """
        folder = Path(path).expanduser().absolute()
        try:
            new = not folder.exists()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = folder.resolve()
            if new:
                # It often lies in a project's work tree, and must not be committed.
                (folder / ".gitignore").write_text("*\n", encoding="ascii")
            # mkdir succeeds on a full disk, and with an existing folder on one that
            # was remounted read-only; writing a block does not.
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"\0" * 8192)
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            raise explain(error, folder) from error
        return cls(folder)

    @classmethod
    def existing(cls, path: str | os.PathLike[str]) -> "State | None":
        """Return the folder at *path* without creating it; None where there is none."""
        folder = Path(path).expanduser().absolute()
        return cls(folder.resolve()) if (folder / "lock").exists() else None

    def folder(self, name: str) -> Path:
        """Return the private folder *name* inside, created with mode 0700."""
        path = self.path / name
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise explain(error, path) from error
        return path

    def require_space(self) -> None:
        """
        Check that a new cluster fits on the disk.

        Raises:
            LocalServerError: Less than `REQUIRED_SPACE` bytes are free.
        """
        there = os.statvfs(self.path)
        free = there.f_bavail * there.f_frsize
        if free < REQUIRED_SPACE:
            raise LocalServerError(
                f"Cannot keep state in {self.path}: the disk is full "
                f"({free // 2**20} MiB free, new data needs {REQUIRED_SPACE // 2**20}); "
                "free some space or choose another folder for the state."
            )

    def socket_folder(self) -> Path:
        """
        Return the private folder (0700, ours) of the sockets.

        It is `run` inside the state, or, where that path is too long for a
        socket or cannot stand in a URL, one in /tmp named by a hash of it.

        Raises:
            LocalServerError: The folder in /tmp belongs to another user.
        """
        inside = self.path / "run"
        text = str(inside)
        if len(os.fsencode(text)) <= MAX_SOCKET_FOLDER and _FITS_A_URL.fullmatch(text):
            return self.folder("run")
        key = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        outside = Path("/tmp") / f"task-server-{os.getuid()}-{key}"  # noqa: S108
        try:
            with contextlib.suppress(FileExistsError):
                outside.mkdir(mode=0o700)
            there = outside.lstat()
        except OSError as error:
            raise explain(error, outside) from error
        # Any user may have made it: it must be ours, and closed to others.
        # For root, the user nobody may own it: PostgreSQL ran as that user.
        ours = there.st_uid == os.getuid() or os.getuid() == 0
        if not stat.S_ISDIR(there.st_mode) or not ours or there.st_mode & 0o077:
            raise LocalServerError(
                f"The socket folder {outside} is not a folder that only this user can enter; "
                "remove it, or choose a shorter path for the state."
            )
        return outside

    @contextlib.contextmanager
    def lock(self, info: Mapping[str, Any] | None = None) -> Iterator[Lock]:
        """
        Lock the folder until the context ends, and publish *info* and the pid.

        The kernel drops the lock with the process, however it ends. `Lock.update` adds
        to *info* later.

        Raises:
            LockedError: Another supervisor has locked it.
        """
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not try_lock(handle, fcntl.LOCK_EX):
                # `lock_holder` in another process locks it for a moment, too.
                holder = self.lock_holder()
                if holder is None:
                    continue
                pid = f" (pid {holder['pid']})" if "pid" in holder else ""
                raise LockedError(
                    f"Another task-server{pid} is running in {self.path}; "
                    "stop it or choose another folder for the state."
                )
            lock = Lock(self.path / "owner.json", {**(info or {}), "pid": os.getpid()})
            try:
                lock.update()
                yield lock
            finally:
                (self.path / "owner.json").unlink(missing_ok=True)
        finally:
            os.close(handle)

    def lock_holder(self) -> dict[str, Any] | None:
        """
        Return what the supervisor that has locked the folder publishes; None without one.

        The dictionary is empty between the lock and the first write.
        """
        return lock_holder(self.path)

    def await_free(self) -> None:
        """Wait until no supervisor has the folder locked."""
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
        finally:
            os.close(handle)
