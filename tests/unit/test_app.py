"""What the tasks are bound to of a project that binds them while it is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from task_server.config.model import WorkerConfig
from task_server.launch.spec import APP_VARIABLE, WORKER_VARIABLE
from tests.support.specs import spec_of

PROJECT = """
from celery import Celery, Task, shared_task

app = Celery("binds")
{setting}


@shared_task
def plain():
    pass


@shared_task(acks_late={other})
def other():
    pass


class Based(Task):
    name = "based"


app.register_task(Based())
"""

PROGRAM = """
from task_server.app import app

print([app.tasks[name].acks_late for name in ("binds.plain", "based", "binds.other")])
print(app.tasks["binds.plain"].reject_on_worker_lost)
"""


@pytest.mark.parametrize(
    ("setting", "late"),
    [
        ("", True),
        ("app.conf.task_acks_late = False", False),
        # Two, so that Celery takes them all for old names.
        ("app.conf.update(CELERY_TIMEZONE='UTC', BROKER_POOL_LIMIT=3)", True),
        ("app.conf.update(CELERY_TIMEZONE='UTC', CELERY_ACKS_LATE=False)", False),
    ],
    ids=["none", "late", "old", "old-late"],
)
def test_tasks_that_the_project_binds_have_our_defaults(
    setting: str,
    late: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    """
    `app.register_task` binds all tasks; each still has the default, the project's, or its own.
    """
    (tmp_path / "binds.py").write_text(PROJECT.format(setting=setting, other=not late))
    spec = spec_of(WorkerConfig(name="w", concurrency=1), runtime_dir=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            APP_VARIABLE: "binds",
            WORKER_VARIABLE: spec.to_json(),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert [str([late, late, not late]), "True"] == done.stdout.splitlines(), done.stderr


def test_check_judges_such_tasks_as_a_worker_has_them(tmp_path: Path) -> None:
    """
    Only the task that says so itself acknowledges early.
    """
    (tmp_path / "binds.py").write_text(PROJECT.format(setting="", other=False))
    done = subprocess.run(
        [sys.executable, "-m", "task_server", "check", "--app", "binds", "--json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    found = [one["message"] for one in json.loads(done.stdout) if one["setting"] == "acks_late"]

    assert ["binds.other"] == [message.partition(" declare ")[0] for message in found]


EAGER = """
from celery import Celery
from celery.apps.worker import Worker

app = Celery("eager")
app.conf.task_always_eager = True


class Probe(Worker):
    def start(self):
        self.on_start()


Probe.app = app
app.Worker = Probe
"""


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_worker_warns_of_tasks_that_never_reach_it(pool: str, tmp_path: Path) -> None:
    """
    With task_always_eager a worker waits forever; its log says why.
    """
    (tmp_path / "eager.py").write_text(EAGER)
    done = subprocess.run(
        [sys.executable, "-m", "task_server", "worker", pool, "--app", "eager"],
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "TASK_SERVER_RUNTIME_DIR": str(tmp_path / "run"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert "task_always_eager is set in the project's settings" in done.stderr
