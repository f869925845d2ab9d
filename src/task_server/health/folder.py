"""The folder that workers write their heartbeats to."""

import os
from collections.abc import Mapping
from pathlib import Path

from task_server.config.model import Config
from task_server.errors import ConfigError, Problem
from task_server.health import private_folder


def heartbeat_folder(config: Config, environ: Mapping[str, str], uid: int) -> Path:
    """
    Return the folder for heartbeats: the setting, systemd's, or a private one in /tmp.

    A worker and its health check get the same one if they run as the same user
    with the same settings, as in one container or one unit.
    """
    if config.runtime_dir is not None:
        return Path(config.runtime_dir)
    # systemd separates several with colons; ours is the first. For a dynamic user
    # it is a symbolic link that systemd made.
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Path(os.path.realpath(given))
    return Path(environ.get("TMPDIR", "/tmp"), f"task-server-{uid}")  # noqa: S108 - private, see `prepare_folder`


def folder_owner(config: Config, environ: Mapping[str, str], uid: int) -> int | None:
    """
    Return who must own the folder for a reader to trust it; None allows any user.

    The operator may choose another user's folder; in /tmp, any user can create one.
    """
    named = config.runtime_dir is not None or environ.get("RUNTIME_DIRECTORY")
    return None if named else uid


def prepare_folder(path: Path, uid: int, setting: str = "runtime_dir") -> None:
    """
    Create the folder *path*, which the setting *setting* names, accessible to this user only.

    Raises:
        ConfigError: When it cannot be created or written, is a symbolic link,
            belongs to another user, or is writable by others.
    """
    try:
        private_folder.make(path)
        opened = private_folder.open_folder(path, uid)
    except private_folder.NotPrivateError as error:
        raise ConfigError([Problem(setting, str(error))]) from error
    except OSError as error:
        message = f"{path} cannot be created ({error.strerror}); choose a writable folder"
        raise ConfigError([Problem(setting, message)]) from error
    try:
        # Through the open descriptor: the path may lead elsewhere by now.
        writable = os.access(".", os.W_OK | os.X_OK, dir_fd=opened)
    finally:
        os.close(opened)
    if not writable:
        message = f"{path} is not writable by user {uid}; choose another folder"
        raise ConfigError([Problem(setting, message)])
