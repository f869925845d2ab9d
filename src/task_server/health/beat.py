"""Is beat alive, and does it send, or wait to? By its heartbeat and its process."""

import os
from collections.abc import Mapping

from task_server.config.model import Config
from task_server.health.beat_heartbeat import BeatHeartbeat
from task_server.health.beat_verdict import check_heartbeat
from task_server.health.folder import folder_owner, heartbeat_folder
from task_server.health.heartbeat import read_as
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
    """Return the verdict on the beat of this user and these settings."""
    del ready  # Its heartbeat has both answers.
    folder = heartbeat_folder(config, environ, os.getuid())
    owner = folder_owner(config, environ, os.getuid())
    heartbeat = read_as(BeatHeartbeat, folder, name, owner, title="beat")
    if isinstance(heartbeat, str):
        return Verdict(alive=False, ready=False, reason=heartbeat)
    return check_heartbeat(heartbeat, timing)
