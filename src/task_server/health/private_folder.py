"""
A folder that only this user can write to, and the files in it.

Such a folder is often in /tmp, where any user can create it before us, with symbolic
links that would make a worker, perhaps one of root's, overwrite another file. So the
folder is opened once, checked through its descriptor, and its files are opened
relative to that; symbolic links are never followed. Workers keep their heartbeats and
run files in one.
"""

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes to read of a file; a heartbeat has a few hundred.
MAX_BYTES = 1 << 20

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO would wait for a writer.
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotPrivateError(OSError):
    """Raised for a folder or a file that another user may control; says how to fix it."""


def make(path: "Path") -> None:
    """
    Create the folder *path*, mode 0700, and its parents.

    Raises:
        OSError: When it cannot be created. It may exist already.
    """
    # Whatever exists, even a dangling link, is checked when it is opened.
    with suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)


def open_folder(path: "str | Path", uid: int | None) -> int:
    """
    Return a descriptor of the folder *path*; the caller closes it.

    Args:
        uid: The user who must own it; None allows any, for readers.

    Raises:
        NotPrivateError: When it is a symbolic link, another user's, or writable by others.

        OSError: When it does not exist, or may not be opened.
    """
    try:
        folder = os.open(path, _FOLDER)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and os.path.islink(path):  # noqa: PTH114 - without pathlib
            message = f"{path} is a link to {os.readlink(path)}; name the folder itself"  # noqa: PTH115
            raise NotPrivateError(message) from error
        raise
    try:
        _check_private(path, os.fstat(folder), uid)
    except NotPrivateError:
        os.close(folder)
        raise
    return folder


def _check_private(path: "str | Path", status: os.stat_result, uid: int | None) -> None:
    mode = stat.S_IMODE(status.st_mode)
    owned = f"it belongs to {status.st_uid}:{status.st_gid}, mode {mode:04o}"
    if uid is not None and status.st_uid != uid:
        raise NotPrivateError(
            f"{path} is another user's ({owned}, this is user {uid}): remove it if you do not "
            "recognize it, or choose a folder of your own"
        )
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotPrivateError(
            f"{path} is writable by others ({owned}): chmod go-w {path}, or choose a folder in it "
            f"that only this user can access, such as {path}/task-server"
        )


def replace(folder: int, name: str, text: str) -> None:
    """
    Replace the file *name* by one with *text*; a reader sees the old or the new one.

    Raises:
        OSError: When the folder is missing or full.
    """
    temporary = f".{name}.{os.getpid()}"
    try:
        file = os.open(temporary, _NEW, 0o644, dir_fd=folder)
    except FileExistsError:
        # Left by a process with our pid that was killed while writing.
        os.unlink(temporary, dir_fd=folder)
        file = os.open(temporary, _NEW, 0o644, dir_fd=folder)
    try:
        with open(file, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
            stream.write(text)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def read(folder: int, name: str) -> str:
    """
    Return the text of the file *name*.

    Raises:
        NotPrivateError: When it is not a regular file, or not owned by the folder's owner.

        OSError: When it does not exist or may not be read.

        UnicodeDecodeError: When it is not text.
    """
    try:
        file = os.open(name, _OLD, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPrivateError(f"{name} is a link; remove it") from error
        if error.errno == errno.ENXIO:
            raise NotPrivateError(f"{name} is not a regular file; remove it") from error
        raise
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise NotPrivateError(f"{name} is not a regular file; remove it")
        if status.st_uid != os.fstat(folder).st_uid:
            raise NotPrivateError(f"{name} belongs to another user ({status.st_uid}); remove it")
        return os.read(file, MAX_BYTES).decode()
    finally:
        os.close(file)


def remove(folder: int, name: str) -> None:
    """
    Remove the file *name*; if it is a link, its target stays.

    Raises:
        OSError: When it does not exist, or may not be removed.
    """
    os.unlink(name, dir_fd=folder)
