"""Is this worker alive, and is it ready? By its heartbeat and its process."""

import os
from collections.abc import Mapping

from task_server.config.model import Config
from task_server.health import verdict
from task_server.health.folder import folder_owner, heartbeat_folder
from task_server.health.verdict import Verdict
from task_server.launch.timing import Timing


def check(
    config: Config,
    name: str,
    environ: Mapping[str, str],
    *,
    ready: bool,
    timing: Timing,
) -> Verdict:
    """Return the verdict on the worker *name* of this user and these settings."""
    del ready  # Its heartbeat has both answers.
    folder = heartbeat_folder(config, environ, os.getuid())
    return verdict.check(folder, name, timing, folder_owner(config, environ, os.getuid()))
