"""Where heartbeats lie, and whose folder that must be; little is imported, for a health check."""

import os
from collections.abc import Mapping


def folder_of(runtime_dir: str | None, environ: Mapping[str, str], uid: int) -> str:
    """
    Return the folder for heartbeats: the setting, systemd's, or a private one in /tmp.

    A worker and its health check get the same one if they run as the same user
    with the same settings, as in one container or one unit.
    """
    if runtime_dir is not None:
        return runtime_dir
    # systemd separates several with colons; ours is the first. For a dynamic user
    # it is a symbolic link that systemd made.
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return os.path.realpath(given)
    return f"{environ.get('TMPDIR', '/tmp')}/task-server-{uid}"  # noqa: S108 - private, see `prepare_folder`


def owner_of(runtime_dir: str | None, environ: Mapping[str, str], uid: int) -> int | None:
    """
    Return who must own the folder for a reader to trust it; None allows any user.

    The operator may choose another user's folder; in /tmp, any user can create one.
    """
    return None if runtime_dir is not None or environ.get("RUNTIME_DIRECTORY") else uid
