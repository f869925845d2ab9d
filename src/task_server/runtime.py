"""The folder in which workers leave their heartbeats."""

import os
from collections.abc import Mapping
from pathlib import Path

from task_server.config import Config
from task_server.errors import ConfigError, Problem


def folder(config: Config, environ: Mapping[str, str], uid: int) -> Path:
    """
    Return the folder of heartbeats: the setting, systemd's, or a private one in /tmp.

    Worker and probe find the same one when they run as the same user with the
    same settings, as in one container or one unit.
    """
    if config.runtime_dir is not None:
        return Path(config.runtime_dir)
    # systemd gives a list with colons between; ours is the first.
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(given) if given else Path(environ.get("TMPDIR", "/tmp"), f"task-server-{uid}")  # noqa: S108 - private, see `prepare`


def prepare(path: Path, uid: int) -> None:
    """
    Create the folder *path*, readable by this user alone.

    Raises:
        ConfigError: When it cannot be made, or belongs to another user.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = path.stat().st_uid
    except OSError as error:
        message = f"{path} cannot be made ({error.strerror}); name a writable folder"
        raise ConfigError([Problem("runtime_dir", message)]) from error
    if owner not in (uid, 0) or not os.access(path, os.W_OK):
        message = f"{path} is not writable by user {uid}; name another folder"
        raise ConfigError([Problem("runtime_dir", message)])
