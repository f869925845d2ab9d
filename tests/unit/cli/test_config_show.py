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
    (tmp_path / "task-server.toml").write_text(
        'app = "cl"\ncode = "."\nvisibility_timeout = 15\n[workers.prefork]\nconcurrency = 2\n'
    )
    rows = json.loads(
        show(
            *(tmp_path, "prefork", "--json"),
            TASK_SERVER_WORKERS_PREFORK_DELIVERY="at-least-once",
        )
    )
    return {row["setting"]: (row["value"], row["from"]) for row in rows}


def show(folder: Path, *arguments: str, **environ: str) -> str:
    """Run `config show` in *folder*, with the project."""
    (folder / "cl.py").write_text(PROJECT)
    done = subprocess.run(
        [sys.executable, "-m", "task_server", "config", "show", *arguments],
        env={**os.environ, "PYTHONPATH": str(folder), **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


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


#: What the operator writes to switch off what Celery does not have: the row, and its effect.
SWITCHES = {
    "database_max_age": ("0", "database_max_age", 0.0, "each task connects"),
    "delay_seconds": ("0", "broker_transport_options.delay_seconds", 0.0, "as in Celery"),
    "prefetch_bytes": ("0", "broker_transport_options.prefetch_bytes", 0, "as in Celery"),
    "resolver_threads": ("10", "resolver_threads", 10, "10 names are resolved at once"),
    "result_store": ("celery", "result_store", "celery", "by Celery's own"),
    "producer": ("false", "producer", False, "as with Celery"),
    "transport": ("kombu", "transport", "kombu", "as in Kombu"),
}


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_each_switch_is_shown_with_its_origin_and_its_effect(pool: str, tmp_path: Path) -> None:
    """
    Off and on: who said so, and what it does, as text and as JSON.
    """
    names = [one for one in SWITCHES if one != "transport"]
    if pool == "prefork":
        names.remove("resolver_threads")
    (tmp_path / "task-server.toml").write_text('app = "cl"\ncode = "."\n')
    prefix = f"TASK_SERVER_WORKERS_{pool.upper()}_"
    variables = {name: f"{prefix}{name.upper()}" for name in SWITCHES}
    variables["producer"] = "TASK_SERVER_PRODUCER"
    off = {variables[name]: SWITCHES[name][0] for name in names}
    by_row = [
        {row["setting"]: row for row in json.loads(show(tmp_path, pool, "--json", **environ))}
        for environ in ({}, off)
    ]
    lines = show(tmp_path, pool, **off).splitlines()

    for name in names:
        _, setting, value, effect = SWITCHES[name]
        on, said = (rows[setting] for rows in by_row)
        assert (value, variables[name]) == (said["value"], said["from"])
        assert effect in said["effect"]
        assert on["effect"] not in {"", said["effect"]}
        assert on["value"] != value
        (line,) = (one for one in lines if one.split()[0] == setting)
        assert f"{variables[name]}: {said['effect']}" in line

    kombu = {variables["transport"]: "kombu"}
    rows = {row["setting"]: row for row in json.loads(show(tmp_path, pool, "--json", **kombu))}
    assert "as in Kombu" in rows["transport"]["effect"]
    # What only the other transport has is not in force, and so not shown.
    assert not {SWITCHES[name][1] for name in ("delay_seconds", "prefetch_bytes")} & set(rows)


def test_the_variables_of_todays_deployments_are_named(tmp_path: Path) -> None:
    """
    `config show NAME` answers for the worker that is launched with this environment.
    """
    today = {"CELERY_QUEUES": "batch1", "CELERY_PREFORK_CONCURRENCY": "6"}

    rows = json.loads(show(tmp_path, "prefork", "--json", "--app", "cl", **today))
    by_name = {row["setting"]: (row["value"], row["from"]) for row in rows}

    assert (6, "CELERY_PREFORK_CONCURRENCY, instead of the project's 8") == (
        by_name["worker_concurrency"]
    )
    assert (["batch1"], "CELERY_QUEUES") == by_name["workers.prefork.queues"]
