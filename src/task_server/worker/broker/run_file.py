"""
The proof that an earlier worker of this host is dead: a file that it had locked.

Each worker process keeps a file in the folder of heartbeats, with a lock (flock) for
as long as it lives. Its children inherit the lock, programs that tasks start do not:
a free lock proves that no process is left to run its tasks. Then its messages need
not wait for their lease. Containers see only the files of their own folder, and a
process uses only those of the same boot: machines that share a folder may not see
each other's locks.
"""

import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from task_server import transport
from task_server.health import private_folder
from task_server.health.process import boot_id
from task_server.transport.store.owner import RUN_ID

logger = logging.getLogger(__name__)

#: NAME.RUN.run; other files are left alone.
NAME = re.compile(r"[a-z0-9_-]+\.([0-9a-f]{32})\.run")

#: Files that one start reads; a worker that crashes all the time leaves more.
MAX_FILES = 1000

#: Seconds for which a file is kept for a worker of its broker to restore its messages.
MAX_AGE = 86400.0


class RunFile:
    """
    The file of the process *run* of the worker *name*, and those of dead ones, in *folder*.

    Args:
        run: The run id in the messages that the process has fetched.
    """

    def __init__(self, folder: Path, name: str, run: str = RUN_ID) -> None:
        self._path = folder
        self._name = f"{name}.{run}.run"
        self._run = run
        self._process = os.getpid()
        self._file: int | None = None
        self._broker = ""
        self._has_warned = False

    def locked(self) -> Self:
        """Create and lock the file; call it before the first child is forked."""
        if transport.installed():
            try:
                self._make()
            except OSError as error:
                self._warn_once(error)
        return self

    def attach(self, channel: Any) -> None:
        """Restore the messages of dead workers through *channel*, which is about to consume."""
        broker = getattr(channel, "broker_id", None)
        if broker is None or not transport.installed():
            return
        try:
            if self._file is not None and broker != self._broker:
                _write(self._file, broker)
                self._broker = broker
            self.restore_dead(broker, channel.qos.restore_runs)
        except (OSError, channel.ResponseError) as error:
            self._warn_once(error)

    def _warn_once(self, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "the run files in %s cannot be used (%s): the messages of a killed worker are "
                "redelivered after their lease, not at its next start",
                *(self._path, error),
            )

    def restore_dead(self, broker: str, restore: Callable[[Collection[str]], None]) -> None:
        """
        Let *restore* redeliver the messages of dead processes on *broker*; remove their files.

        Raises:
            OSError: When the folder cannot be read.
        """
        folder = private_folder.open_folder(self._path, None)
        locked: dict[str, int] = {}
        runs: list[str] = []
        try:
            for name in os.listdir(folder):  # noqa: PTH208 - a descriptor
                match = NAME.fullmatch(name)
                if match is None or match[1] == self._run or len(locked) >= MAX_FILES:
                    continue
                file = _lock_of_dead(folder, name)
                if file is None:
                    continue
                locked[name] = file
                content = _read(folder, name)
                if content.get("boot") != boot_id() or not content.get("broker"):
                    continue
                if content["broker"] == broker:
                    runs.append(match[1])
                elif time.time() - os.fstat(file).st_mtime < MAX_AGE:
                    # A worker of that broker restores its messages.
                    os.close(locked.pop(name))
            if runs:
                restore(runs)
            for name in locked:
                with suppress(FileNotFoundError):
                    private_folder.remove(folder, name)
        finally:
            for file in locked.values():
                os.close(file)
            os.close(folder)

    def remove(self, received: Iterable[Any]) -> None:
        """Remove the file at the end of the process, if nothing of *received* is left."""
        if self._file is None or os.getpid() != self._process or any(True for _ in received):
            return
        with suppress(OSError):
            folder = private_folder.open_folder(self._path, None)
            try:
                private_folder.remove(folder, self._name)
            finally:
                os.close(folder)

    def _make(self) -> None:
        folder = private_folder.open_folder(self._path, None)
        # Locked before it gets its name: another start would take it for a dead worker's.
        temporary = f".{self._name}"
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(temporary, flags, 0o600, dir_fd=folder)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _write(file, self._broker)
                os.rename(temporary, self._name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.close(file)
                with suppress(OSError):
                    private_folder.remove(folder, temporary)
                raise
            self._file = file
        finally:
            os.close(folder)


def _write(file: int, broker: str) -> None:
    text = json.dumps({"boot": boot_id(), "broker": broker}).encode()
    os.pwrite(file, text, 0)
    os.ftruncate(file, len(text))


def _lock_of_dead(folder: int, name: str) -> int | None:
    """Return a descriptor of the file *name*, locked; None if its process lives, or is no file."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(name, flags, dir_fd=folder)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _read(folder: int, name: str) -> dict[str, Any]:
    try:
        content = json.loads(private_folder.read(folder, name))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
