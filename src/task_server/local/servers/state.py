"""
The state folder: the data of the local servers, their sockets, and the lock
that says whose they are just now.

    STATE/
      redis/         append-only files
      postgres/      the cluster
      run/           sockets (or a private folder in /tmp, see `socket_folder`)
      lock           held (flock) by the supervisor that owns the folder
      owner.json     what that supervisor says of itself
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from task_server.errors import LocalServerError

#: Longest path of a socket folder: sun_path holds 107 bytes and a NUL on
#: Linux, 103 on macOS, less "/.s.PGSQL.65535" and a little room.
MAX_SOCKET_FOLDER = 80

#: The host part of a URL is lower-cased by urllib, also when it is a quoted
#: path; so a folder that is to stand in DATABASE_URL must be of these only.
_FITS_A_URL = re.compile(r"[a-z0-9/._-]+")

#: Space that initdb, its write-ahead log and an append-only file need at first.
ROOM_FOR_DATA = 120 * 1024 * 1024


def because(error: OSError, path: Path) -> LocalServerError:
    """Tell what *error* on *path* means and what to do about it."""
    choose = "or choose another folder for the state"
    hints = {
        errno.EROFS: f"the disk is read-only; make it writable {choose}",
        errno.ENOSPC: f"the disk is full; free some space {choose}",
        errno.EDQUOT: f"the disk quota is used up; free some space {choose}",
        errno.EACCES: f"this user may not write there; change the owner {choose}",
        errno.EPERM: f"this user may not write there; change the owner {choose}",
        errno.ENOTDIR: f"a part of the path is a file; remove it {choose}",
        errno.EEXIST: f"it is a file; remove it {choose}",
    }
    hint = hints.get(error.errno or 0, f"{error.strerror or error}; mend it {choose}")
    return LocalServerError(f"Cannot keep state in {path}: {hint}.")


def _locked(handle: int, kind: int) -> bool:
    """Try to lock the open file *handle*, without waiting."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass
class Claim:
    """The lock on a state folder, held; `update` changes what others read."""

    _path: Path
    info: dict[str, Any]

    def update(self, **info: object) -> None:
        """Add *info* to what `State.owner` tells others."""
        self.info.update(info)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self.info), encoding="utf-8")
        draft.replace(self._path)


@dataclass(frozen=True, slots=True)
class State:
    """One state folder; `path` is absolute, with links resolved."""

    path: Path
    _claims: list[Claim] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "State":
        """
        Create the folder at *path* if needed, and see that it can be written.

        Raises:
            LocalServerError: Not to be created or written, or full.
        """
        folder = Path(path).expanduser().absolute()
        try:
            new = not folder.exists()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = folder.resolve()
            if new:
                # It often lies in a project's work tree, and is nothing to commit.
                (folder / ".gitignore").write_text("*\n", encoding="ascii")
            # mkdir succeeds on a full disk, and on one that was remounted
            # read-only when the folder is there; writing a block does not.
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"\0" * 8192)
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            raise because(error, folder) from error
        return cls(folder)

    def folder(self, name: str) -> Path:
        """Return the private folder *name* inside, created with mode 0700."""
        path = self.path / name
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise because(error, path) from error
        return path

    def need_room(self) -> None:
        """
        Raise unless a new cluster fits.

        Raises:
            LocalServerError: Less than `ROOM_FOR_DATA` bytes are free.
        """
        there = os.statvfs(self.path)
        free = there.f_bavail * there.f_frsize
        if free < ROOM_FOR_DATA:
            raise LocalServerError(
                f"Cannot keep state in {self.path}: the disk is full "
                f"({free // 2**20} MiB free, new data needs {ROOM_FOR_DATA // 2**20}); "
                "free some space or choose another folder for the state."
            )

    def socket_folder(self) -> Path:
        """
        Return the private folder (0700, ours) of the sockets.

        It is `run` inside the state, or, where that path is too long for a
        socket or cannot stand in a URL, one in /tmp named by a hash of it.

        Raises:
            LocalServerError: The folder in /tmp belongs to somebody else.
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
            raise because(error, outside) from error
        # Anybody may make folders in /tmp, so ours must be ours and closed.
        # PostgreSQL that was started as nobody owns it in root's stead.
        ours = there.st_uid == os.getuid() or os.getuid() == 0
        if not stat.S_ISDIR(there.st_mode) or not ours or there.st_mode & 0o077:
            raise LocalServerError(
                f"The socket folder {outside} is not a private folder of this user; "
                "remove it, or choose a shorter path for the state."
            )
        return outside

    @contextlib.contextmanager
    def claim(self, info: Mapping[str, Any] | None = None) -> Iterator[Claim]:
        """
        Own the folder until the context ends, and tell others *info*.

        The kernel drops the lock with the process, however it ends. The pid is
        added to *info*; `Claim.update` adds more later.

        Raises:
            LocalServerError: Another supervisor owns it.
        """
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _locked(handle, fcntl.LOCK_EX):
                # It may have been `owner` of another process, looking.
                owner = self.owner()
                if owner is None:
                    continue
                pid = f" (pid {owner['pid']})" if "pid" in owner else ""
                raise LocalServerError(
                    f"Another task-server{pid} runs in {self.path}; "
                    "stop it or choose another folder for the state."
                )
            claim = Claim(self.path / "owner.json", {**(info or {}), "pid": os.getpid()})
            try:
                claim.update()
                yield claim
            finally:
                (self.path / "owner.json").unlink(missing_ok=True)
        finally:
            os.close(handle)

    def owner(self) -> dict[str, Any] | None:
        """
        Return what the supervisor that owns the folder says of itself.

        None means that there is none. The dictionary is empty in the moment
        between the lock and the first word.
        """
        try:
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if _locked(handle, fcntl.LOCK_SH):
                return None
        finally:
            os.close(handle)
        try:
            info = json.loads((self.path / "owner.json").read_text(encoding="utf-8"))
            os.kill(info["pid"], 0)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            # owner.json may be of one that was killed before the present one.
            return {}
        except PermissionError:
            pass
        return dict(info)
