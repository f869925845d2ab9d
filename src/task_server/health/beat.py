"""Is beat alive, and does it send, or wait to? By its heartbeat and its process."""

import os
from collections.abc import Mapping

from task_server.config.model import Config
from task_server.health.beat_heartbeat import BeatHeartbeat
from task_server.health.folder import folder_owner, heartbeat_folder
from task_server.health.heartbeat import read_as
from task_server.health.process import is_running
from task_server.health.verdict import Now, Verdict, now
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
    running = is_running(heartbeat.pid, heartbeat.pid_start)
    return evaluate(heartbeat, now(), timing, running=running)


def evaluate(
    heartbeat: BeatHeartbeat, now: Now, timing: Timing, *, running: bool = True
) -> Verdict:
    """
    Return the verdict on beat: ready is one that sends, or that waits for the lock.

    Args:
        running: Whether its process still exists.
    """
    if reason := _dead_reason(heartbeat, now, timing, running=running):
        return Verdict(alive=False, ready=False, reason=reason)
    if heartbeat.trouble is not None:
        since = now.monotonic - (heartbeat.trouble_since or now.monotonic)
        reason = f"{heartbeat.trouble}, for {since:.0f} s; a restart does not help"
        return Verdict(alive=True, ready=False, reason=reason)
    if heartbeat.state == "standby":
        return Verdict(alive=True, ready=True, reason=f"standby: {heartbeat.holder}")
    if heartbeat.state != "sending":
        return Verdict(alive=True, ready=False, reason=heartbeat.state)
    word = "entry" if heartbeat.entries == 1 else "entries"
    lock = "" if heartbeat.is_locked else ", without a lock"
    reason = f"holder{lock}: {heartbeat.entries} {word}, {heartbeat.sent} tasks sent"
    return Verdict(alive=True, ready=True, reason=reason)


def _dead_reason(heartbeat: BeatHeartbeat, now: Now, timing: Timing, *, running: bool) -> str:
    """Return why beat needs a restart; empty if it does not."""
    if heartbeat.boot_id != now.boot_id:
        return "the heartbeat is from before the last reboot"
    if not running:
        return f"process {heartbeat.pid} has exited"
    age = now.monotonic - heartbeat.monotonic
    if heartbeat.trouble is not None:
        # It connects: the kernel gives up on a host that drops packets after 130 s.
        allowed = max(timing.stale, timing.max_connect)
    elif heartbeat.state == "starting":
        allowed = max(timing.stale, timing.max_start)
    else:
        allowed = timing.stale
    return f"has not looked at the schedule for {age:.0f} s" if age > allowed else ""
