"""
A folder that belongs to this user alone, and files in it that lead nowhere else.

Such a folder often lies in /tmp, where anybody may make one before us, with links
that would make a worker, maybe root's, overwrite another file. So a folder is opened
once, judged as it was opened, and its files are reached through it; none is followed
that is a link. The heartbeats and the run files of workers lie in one.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

#: Bytes of a file that is read at the most; a heartbeat has some hundreds.
LARGEST = 1 << 20

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO that nobody writes to would be waited for.
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotPrivateError(OSError):
    """Raised for a folder or a file that somebody else may have put there; says what to do."""


def make(path: Path) -> None:
    """
    Create the folder *path* and those above it; itself for this user alone.

    Raises:
        OSError: When it cannot be made. One that is there already is no error.
    """
    # What is there, a link that leads nowhere too, is judged when it is opened.
    with suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)


def open_folder(path: Path, uid: int | None) -> int:
    """
    Return a descriptor of the folder *path*; the caller closes it.

    Args:
        uid: The user it must belong to; None is any, for one who only reads.

    Raises:
        NotPrivateError: When it is a link, another user's, or others may write in it.

        OSError: When it is not there, or may not be opened.
    """
    try:
        folder = os.open(path, _FOLDER)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and path.is_symlink():
            message = f"{path} is a link, to {os.readlink(path)}; name the folder itself"  # noqa: PTH115
            raise NotPrivateError(message) from error
        raise
    try:
        _judge(path, os.fstat(folder), uid)
    except NotPrivateError:
        os.close(folder)
        raise
    return folder


def _judge(path: Path, status: os.stat_result, uid: int | None) -> None:
    mode = stat.S_IMODE(status.st_mode)
    whose = f"it belongs to {status.st_uid}:{status.st_gid}, mode {mode:04o}"
    if uid is not None and status.st_uid != uid:
        raise NotPrivateError(
            f"{path} is another user's ({whose}, this is user {uid}): remove it if you do not know "
            "it, or name a folder of your own"
        )
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotPrivateError(
            f"others may write in {path} ({whose}): chmod go-w {path}, or name a folder in it "
            f"that is made for this user alone, such as {path / 'task-server'}"
        )


def replace(folder: int, name: str, text: str) -> None:
    """
    Put a file with *text* in the place of *name*; a reader sees the one before or this one.

    Raises:
        OSError: When the folder is gone or full.
    """
    temporary = f".{name}.{os.getpid()}"
    try:
        file = os.open(temporary, _NEW, 0o644, dir_fd=folder)
    except FileExistsError:
        # Of a process with our pid that was killed while it wrote.
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
        NotPrivateError: When it is no plain file, or not of the owner of the folder.

        OSError: When it is not there or may not be read.

        UnicodeDecodeError: When it is no text.
    """
    try:
        file = os.open(name, _OLD, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPrivateError(f"{name} is a link; remove it") from error
        if error.errno == errno.ENXIO:
            raise NotPrivateError(f"{name} is no plain file; remove it") from error
        raise
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise NotPrivateError(f"{name} is no plain file; remove it")
        if status.st_uid != os.fstat(folder).st_uid:
            raise NotPrivateError(f"{name} belongs to another user ({status.st_uid}); remove it")
        return os.read(file, LARGEST).decode()
    finally:
        os.close(file)


def remove(folder: int, name: str) -> None:
    """
    Remove the file *name*; what it links to stays.

    Raises:
        OSError: When it is not there, or may not be removed.
    """
    os.unlink(name, dir_fd=folder)
