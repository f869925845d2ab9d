"""What the health check says of beat's heartbeat."""

import json
from pathlib import Path
from typing import Any

import pytest

from task_server.config.model import Config
from task_server.health import beat, beat_verdict
from task_server.health.beat_heartbeat import BeatHeartbeat
from task_server.health.verdict import Now
from task_server.launch.timing import DEFAULT_TIMING

NOW = Now(time=5000.0, monotonic=1000.0, boot_id="b")

SENDING = BeatHeartbeat(
    state="sending", time=4999.0, monotonic=999.0, boot_id="b", started=1.0, pid=7, pid_start=3
)


@pytest.mark.parametrize(
    ("changes", "alive", "ready", "words"),
    [
        ({}, True, True, "holder: 0 entries"),
        ({"entries": 1}, True, True, "1 entry,"),
        ({"is_locked": False}, True, True, "without a lock"),
        ({"state": "standby", "holder": "pid 9 on h"}, True, True, "standby: pid 9 on h"),
        ({"state": "starting"}, True, False, "starting"),
        ({"state": "stopping"}, True, False, "stopping"),
        ({"trouble": "Redis is away", "trouble_since": 990.0}, True, False, "for 10 s; a restart"),
        ({"monotonic": 960.0}, False, False, "has not looked at the schedule for 40 s"),
        ({"monotonic": 960.0, "state": "starting"}, True, False, "starting"),
        ({"monotonic": 960.0, "trouble": "away"}, True, False, "away"),
        ({"monotonic": 700.0, "trouble": "away"}, False, False, "for 300 s"),
        ({"boot_id": "c"}, False, False, "before the last reboot"),
    ],
)
def test_a_heartbeat_is_judged(
    changes: dict[str, Any], words: str, *, alive: bool, ready: bool
) -> None:
    """
    Alive while it looks at the schedule or waits for the lock or a server; ready if it could send.
    """
    found = beat_verdict.evaluate(SENDING._replace(**changes), NOW, DEFAULT_TIMING)

    assert (alive, ready) == (found.alive, found.ready)
    assert words in found.reason


def test_a_process_that_ended_is_dead() -> None:
    """
    Its heartbeat may be fresh.
    """
    found = beat_verdict.evaluate(SENDING, NOW, DEFAULT_TIMING, running=False)

    assert (False, "process 7 has exited") == (found.alive, found.reason)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}', "\x00", '{"state": 5}'])
def test_a_heartbeat_that_is_none_is_said(tmp_path: Path, text: str) -> None:
    """
    Whatever lies there, the check ends with one line.
    """
    tmp_path.chmod(0o700)
    (tmp_path / "beat.json").write_text(text)
    config = Config(runtime_dir=str(tmp_path))

    found = beat.check(config, "beat", {}, ready=False, timing=DEFAULT_TIMING)

    assert (False, True) == (found.alive, "is invalid" in found.reason)


def test_fields_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    """
    As with a worker's; without a file beat does not run.
    """
    tmp_path.chmod(0o700)
    config = Config(runtime_dir=str(tmp_path))
    absent = beat.check(config, "beat", {}, ready=False, timing=DEFAULT_TIMING)
    (tmp_path / "beat.json").write_text(json.dumps({**SENDING._asdict(), "more": 1}))
    found = beat.check(config, "beat", {}, ready=False, timing=DEFAULT_TIMING)

    assert "the beat is not running" in absent.reason
    assert "before the last reboot" in found.reason
