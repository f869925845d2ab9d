"""The intervals of a worker, and the variable with which tests shrink them."""

import json
import os
import time
from pathlib import Path

import pytest

from task_server.config.model import Config
from task_server.errors import ConfigError
from task_server.health import command as health
from task_server.health.heartbeat import Heartbeat, path_of, write
from task_server.health.process import boot_id
from task_server.launch.command import worker_command
from task_server.launch.precedence import worker_spec
from task_server.launch.profiles import Machine
from task_server.launch.spec import WORKER_VARIABLE, WorkerSpec
from task_server.launch.timing import TIMING_VARIABLE, Timing
from task_server.project.defaults import worker_defaults


def test_a_variable_of_tests_shrinks_the_times_of_a_worker() -> None:
    """
    The launcher reads TASK_SERVER_TIMING, and the worker gets what it says.
    """
    config = Config(app="docket")
    timing = json.dumps({"heartbeat": 0.2, "socket_timeout": 3})

    chosen = worker_command(
        config,
        worker_spec(
            config,
            "gevent",
            Machine(cores=1, memory=None),
            timing=Timing.from_environ({TIMING_VARIABLE: timing}),
        ),
        python="python",
        environ={},
    )

    spec = WorkerSpec.from_json(chosen.environ[WORKER_VARIABLE])
    defaults = {default.name: default.value for default in worker_defaults(spec, None)}
    assert Timing(heartbeat=0.2, socket_timeout=3) == spec.timing
    assert 3 == defaults["broker_transport_options.socket_timeout"]
    assert 25 == defaults["broker_transport_options.health_check_interval"]


def test_the_variable_shrinks_the_times_of_the_health_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `task-server health` calls a heartbeat old that is older than the variable says.
    """
    started = time.monotonic() - 5
    beat = Heartbeat(
        state="ready",
        time=time.time() - 5,
        monotonic=started,
        boot_id=boot_id(),
        started=started,
        pid=os.getpid(),
        pid_start=None,
        name="w",
        node="w@host",
        pool="prefork",
        concurrency=1,
        free=1,
    )
    write(path_of(tmp_path, "w"), beat)
    environ = {"TASK_SERVER_RUNTIME_DIR": str(tmp_path)}

    codes = [
        health.main(["w"], environ | shrunk) for shrunk in ({}, {TIMING_VARIABLE: '{"stale": 3}'})
    ]

    assert [0, 1] == codes
    assert "event loop blocked for 5 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"heartbeet": 1}',
            "'heartbeet' is unknown; choose from cancel_grace, connect_timeout, debounce",
        ),
        ("{", "is not JSON"),
        ("[1]", "is not an object"),
        ('{"finish": 0}', "finish: 0 is not a number of seconds above 0"),
        ('{"finish": "1"}', "finish: '1' is not a number of seconds above 0"),
        ('{"finish": true}', "finish: True is not a number of seconds above 0"),
    ],
)
def test_a_wrong_timing_is_refused(text: str, message: str) -> None:
    """
    A test that misspells a time must not wait for the default in silence.
    """
    with pytest.raises(ConfigError, match="TASK_SERVER_TIMING") as error:
        Timing.from_environ({TIMING_VARIABLE: text})

    assert message in str(error.value)
