"""Where beat keeps its schedule, and under which name it takes its lock."""

from pathlib import Path

import pytest
from celery import Celery

from task_server.config.loader import ConfigError, load
from task_server.launch.beat_spec import BEAT_VARIABLE, BeatSpec, beat_spec
from task_server.launch.command import beat_command
from task_server.launch.timing import DEFAULT_TIMING
from task_server.project.schedule import CELERYS, has_schedule, schedule_file, scheduler_of


def spec_of(environ: dict[str, str]) -> BeatSpec:
    config = load(None, {"TASK_SERVER_APP": "cl.celery:app", **environ})
    return beat_spec(config, runtime_dir="/run/x", environ=environ, timing=DEFAULT_TIMING)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({}, "/run/x"),
        ({"TASK_SERVER_STATE": "/s"}, "/s"),
        ({"TASK_SERVER_STATE": "/s", "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"STATE_DIRECTORY": "/var/lib/a", "TASK_SERVER_BEAT_FOLDER": "/mine"}, "/mine"),
    ],
)
def test_the_file_lies_where_it_may_be_written(environ: dict[str, str], folder: str) -> None:
    """
    In the operator's folder, systemd's, that of `up`, or beside the heartbeat.
    """
    assert folder == spec_of(environ).folder


def test_the_projects_own_file_counts_where_the_operator_names_no_folder() -> None:
    """
    If its path is absolute; else its name, with the project's behind it.
    """
    app = Celery("cl", set_as_current=False)
    assert Path("/run/x/celerybeat-schedule.cl") == schedule_file(app, spec_of({}))
    app.conf.beat_schedule_filename = "/data/beat"
    assert Path("/data/beat") == schedule_file(app, spec_of({}))
    given = spec_of({"TASK_SERVER_BEAT_FOLDER": "/mine"})
    assert Path("/mine/beat.cl") == schedule_file(app, given)


def test_the_launcher_hands_over_all_that_it_decided() -> None:
    """
    In one variable, without a secret.
    """
    environ = {"TASK_SERVER_BROKER_URL": "redis://:hunter2@h/0", "TASK_SERVER_APP": "cl"}
    config = load(None, environ)
    spec = beat_spec(config, runtime_dir="/run/x", environ={}, timing=DEFAULT_TIMING)
    command = beat_command(config, spec, python="python3", environ={})

    assert spec == BeatSpec.from_json(command.environ[BEAT_VARIABLE])
    assert (True, "cl") == (spec.uses_broker, spec.lock_name)
    assert "hunter2" not in command.environ[BEAT_VARIABLE]
    assert ("python3", "-m", "task_server.beat") == command.argv


@pytest.mark.parametrize("value", ["0.5", "-1", "nan", "inf", "5000", "soon"])
def test_a_lock_is_for_seconds(value: str) -> None:
    """
    Shorter it would expire between two looks; 0 is none.
    """
    with pytest.raises(ConfigError, match=r"beat\.lock_seconds"):
        spec_of({"TASK_SERVER_BEAT_LOCK_SECONDS": value})
    assert 0 == spec_of({"TASK_SERVER_BEAT_LOCK_SECONDS": "0"}).lock_seconds


def test_who_names_the_scheduler_counts() -> None:
    """
    The operator, then the project; Celery's own without entries is no schedule.
    """
    app = Celery("cl", set_as_current=False)
    assert (None, False) == (scheduler_of(app), has_schedule(app))
    app.conf.beat_scheduler = CELERYS
    assert (CELERYS, False) == (scheduler_of(app), has_schedule(app))
    app.conf.beat_scheduler = "theirs:Scheduler"
    assert ("theirs:Scheduler", True) == (scheduler_of(app), has_schedule(app))
    assert "ours:Scheduler" == scheduler_of(app, "ours:Scheduler")
