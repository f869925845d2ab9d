"""`queues = "all"`: every queue of the project, known at the worker's start."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from task_server.config.loader import load
from task_server.launch.command import worker_command
from task_server.launch.precedence import worker_spec
from task_server.launch.profiles import Machine
from task_server.project.queues import excluded

PROJECT = """
import json, sys
from celery import Celery
from celery.apps.worker import Worker
from kombu import Queue

app = Celery("parish")
app.conf.update(
    task_default_queue="web",
    task_queues=[Queue("declared", routing_key="a.#")],
    task_routes={"feeds.*": {"queue": "feeds"}, "none": {"queue": ""}, "any": {"queue": "*"}},
    beat_schedule={"nightly": {"task": "plain", "schedule": 60, "options": {"queue": "nights"}}},
)


@app.task(queue="own")
def plain():
    plain.apply_async(queue="called")
    Throttle(queue_name="perhaps")


class Probe(Worker):
    def start(self):
        self.on_start()
        consumed = app.amqp.queues.consume_from
        found = [sorted(consumed), consumed.get("declared", Queue()).routing_key]
        # Celery's log has taken the other one.
        print(json.dumps(found), file=sys.__stdout__)


Probe.app = app
app.Worker = Probe
"""


def built(folder: Path, pool: str, source: str, queues: str, extra: Sequence[str] = ()) -> Any:
    """Build a worker of *queues* for the project *source*, up to its start."""
    (folder / "parish.py").write_text(source)
    config = load(
        None,
        {
            "TASK_SERVER_APP": "parish",
            "TASK_SERVER_CODE": str(folder),
            f"TASK_SERVER_WORKERS_{pool.upper()}_QUEUES": queues,
            f"TASK_SERVER_WORKERS_{pool.upper()}_EXTRA_ARGS": " ".join(extra),
        },
    )
    command = worker_command(
        config,
        worker_spec(config, pool, Machine(cores=1, memory=None), runtime_dir=str(folder)),
        python=sys.executable,
        environ={},
    )
    return subprocess.run(
        command.argv,
        env={**os.environ, **command.environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
@pytest.mark.parametrize(
    ("queues", "extra", "changed"),
    [("all", (), set()), ("all,mine", ("-X", "own"), {"mine", "own"})],
)
def test_one_word_consumes_every_queue(
    pool: str, queues: str, extra: Sequence[str], changed: set[str], tmp_path: Path
) -> None:
    """
    Declared queues, routes, tasks, schedules and calls; what may be a queue is only logged.
    """
    done = built(tmp_path, pool, PROJECT, queues, extra)

    expected = sorted({"web", "declared", "feeds", "nights", "own", "called"} ^ changed)
    assert 0 == done.returncode, done.stderr
    # The project's own declaration is consumed from.
    assert [expected, "a.#"] == json.loads(done.stdout.splitlines()[-1])
    assert "perhaps" in done.stderr
    assert f"add them to workers.{pool}.queues" in done.stderr


def test_a_project_that_makes_no_queues_has_those_that_it_declares(tmp_path: Path) -> None:
    """
    With task_create_missing_queues off no task can be sent to another one.
    """
    source = PROJECT.replace(
        "task_default_queue", "task_create_missing_queues=False, task_default_queue"
    )
    source = source.replace('Queue("declared"', 'Queue("web"), Queue("own"), Queue("declared"')
    done = built(tmp_path, "prefork", source, "all")

    assert 0 == done.returncode, done.stderr
    assert ["declared", "own", "web"] == json.loads(done.stdout.splitlines()[-1])[0]


def test_queues_that_cannot_be_listed_end_the_worker(tmp_path: Path) -> None:
    """
    It would consume the default queue alone, silently; exit 78.
    """
    source = PROJECT.replace(
        "@app.task", "class Odd(dict):\n    def items(self): raise OSError('odd')\n\n\n@app.task"
    ).replace("class Probe", "app.conf.beat_schedule = Odd()\n\n\nclass Probe")
    done = built(tmp_path, "prefork", source, "all")

    assert 78 == done.returncode, done.stderr
    assert "workers.prefork.queues: the queues of the project cannot be listed: OSError: odd" in (
        done.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), []),
        (("-X", "a,b"), ["a", "b"]),
        (("--exclude-queues=a", "--purge"), ["a"]),
        (("--exclude-queues", "a"), ["a"]),
        (("-X",), [""]),
    ],
)
def test_queues_that_are_left_out(arguments: Sequence[str], expected: list[str]) -> None:
    """
    Celery's own argument for that is honoured beside the word for all.
    """
    assert expected == excluded(arguments)
