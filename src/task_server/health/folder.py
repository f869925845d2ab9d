"""The folder in which workers leave their heartbeats."""

import os
from collections.abc import Mapping
from pathlib import Path

from task_server.config.model import Config
from task_server.errors import ConfigError, Problem
from task_server.health import private_folder


def folder(config: Config, environ: Mapping[str, str], uid: int) -> Path:
    """
    Return the folder of heartbeats: the setting, systemd's, or a private one in /tmp.

    Worker and probe find the same one when they run as the same user with the
    same settings, as in one container or one unit.
    """
    if config.runtime_dir is not None:
        return Path(config.runtime_dir)
    # systemd gives a list with colons between; ours is the first. With a dynamic
    # user it is a link of systemd's own.
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Path(os.path.realpath(given))
    return Path(environ.get("TMPDIR", "/tmp"), f"task-server-{uid}")  # noqa: S108 - private, see `prepare`


def owner(config: Config, environ: Mapping[str, str], uid: int) -> int | None:
    """
    Return whose folder a reader takes for the worker's; None is anybody's.

    Only the operator names another user's folder; anybody can make one in /tmp.
    """
    named = config.runtime_dir is not None or environ.get("RUNTIME_DIRECTORY")
    return None if named else uid


def prepare(path: Path, uid: int) -> None:
    """
    Create the folder *path*, for this user alone.

    Raises:
        ConfigError: When it cannot be made or written, is a link, belongs to
            another user, or others may write in it.
    """
    try:
        private_folder.make(path)
        opened = private_folder.open_folder(path, uid)
    except private_folder.NotPrivateError as error:
        raise ConfigError([Problem("runtime_dir", str(error))]) from error
    except OSError as error:
        message = f"{path} cannot be made ({error.strerror}); name a writable folder"
        raise ConfigError([Problem("runtime_dir", message)]) from error
    try:
        # Through the folder as it was opened: the name may lead elsewhere by now.
        writable = os.access(".", os.W_OK | os.X_OK, dir_fd=opened)
    finally:
        os.close(opened)
    if not writable:
        message = f"{path} is not writable by user {uid}; name another folder"
        raise ConfigError([Problem("runtime_dir", message)])
