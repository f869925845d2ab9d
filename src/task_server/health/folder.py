"""The folder that workers write their heartbeats to."""

import os
from collections.abc import Mapping
from pathlib import Path

from task_server.config.model import Config
from task_server.errors import ConfigError, Problem
from task_server.health import private_folder
from task_server.health.place import folder_of, owner_of


def heartbeat_folder(config: Config, environ: Mapping[str, str], uid: int) -> Path:
    """Return the folder for heartbeats of *config*, see `folder_of`."""
    return Path(folder_of(config.runtime_dir, environ, uid))


def folder_owner(config: Config, environ: Mapping[str, str], uid: int) -> int | None:
    """Return who must own that folder, see `owner_of`."""
    return owner_of(config.runtime_dir, environ, uid)


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
