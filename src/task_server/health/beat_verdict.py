"""Is beat alive, and does it send, or wait to? The rules, applied to its heartbeat."""

from task_server.health.beat_heartbeat import BeatHeartbeat
from task_server.health.limits import Limits
from task_server.health.process import is_running
from task_server.health.verdict import DEFAULT_LIMITS, Now, Verdict, now, without_processor


def check_heartbeat(heartbeat: BeatHeartbeat, timing: Limits = DEFAULT_LIMITS) -> Verdict:
    """Return the verdict on the beat that wrote *heartbeat*, from its process."""
    running = is_running(heartbeat.pid, heartbeat.pid_start)
    return evaluate(heartbeat, now(heartbeat.pid), timing, running=running)


def evaluate(
    heartbeat: BeatHeartbeat, now: Now, timing: Limits, *, running: bool = True
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


def _dead_reason(heartbeat: BeatHeartbeat, now: Now, timing: Limits, *, running: bool) -> str:
    """Return why beat needs a restart; empty if it does not."""
    if heartbeat.boot_id != now.boot_id:
        return "the heartbeat is from before the last reboot"
    if not running:
        return f"process {heartbeat.pid} has exited"
    age = now.monotonic - heartbeat.monotonic - without_processor(heartbeat.waited, now)
    if heartbeat.trouble is not None:
        # It connects: the kernel gives up on a host that drops packets after 130 s.
        allowed = max(timing.stale, timing.max_connect)
    elif heartbeat.state == "starting":
        allowed = max(timing.stale, timing.max_start)
    else:
        allowed = timing.stale
    return f"has not looked at the schedule for {age:.0f} s" if age > allowed else ""
