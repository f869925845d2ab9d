"""`config show NAME`: what is in force in a worker, who gave it, and what it was preferred to."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = """
from celery import Celery

app = Celery("cl")
app.conf.update(
    broker_transport_options={"visibility_timeout": 21600, "global_keyprefix": "cl:"},
    worker_concurrency=8,
    worker_prefetch_multiplier=1,
    task_acks_late=False,
)
"""


@pytest.fixture
def shown(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "cl.py").write_text(PROJECT)
    (tmp_path / "task-server.toml").write_text(
        'app = "cl"\ncode = "."\nvisibility_timeout = 15\n[workers.prefork]\nconcurrency = 2\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "task_server", "config", "show", "prefork", "--json"],
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "TASK_SERVER_WORKERS_PREFORK_DELIVERY": "at-least-once",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return {row["setting"]: (row["value"], row["from"]) for row in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (
            "broker_transport_options.visibility_timeout",
            (15.0, "task-server.toml, instead of the project's 21600"),
        ),
        ("result_backend_transport_options.visibility_timeout", (15.0, "task-server.toml")),
        ("worker_concurrency", (2, "task-server.toml, instead of the project's 8")),
        ("worker_prefetch_multiplier", (1, "the project's own settings")),
        (
            "task_acks_late",
            (True, "TASK_SERVER_WORKERS_PREFORK_DELIVERY, instead of the project's false"),
        ),
    ],
)
def test_one_line_says_what_is_in_force_and_what_it_overrode(
    shown: Any, setting: str, expected: Any
) -> None:
    """
    The operator's value has who gave it, and what the project wanted; no line is left to doubt.
    """
    assert expected == shown[setting]
