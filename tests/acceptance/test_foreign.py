"""
A Django project that knows nothing of task-server, in a read-only folder.

It is laid out as CourtListener was: `cl/celery.py`, settings files read in
alphabetical order by code of its own, tasks in an app.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from task_server import local
from tests.support.program import Output, Program

PROJECT = Path(__file__).parent / "foreign"

# It asks for the results rather than to subscribe to them: Celery's client of 5.7
# now and then unsubscribes from results that it still waits for.
PRODUCER = """
import json
import sys
import threading
import time
from cl.scrapers.tasks import add, ask_database

sum = add.delay(2, 3)
halves = [ask_database.apply_async((number,), queue="io_bound") for number in range(512)]
whole = ask_database.delay(7)
waiting = [sum, whole, *halves]
deadline = time.monotonic() + 90
while waiting := [one for one in waiting if not one.ready()]:
    if time.monotonic() > deadline:
        sys.exit(f"{len(waiting)} tasks have no result")
    threading.Event().wait(0.1)
print(json.dumps({
    "sum": sum.result,
    "io_bound": [half.result for half in halves],
    "celery": whole.result,
}))
"""


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Path]:
    """Return the project's folder, which is read-only."""
    folder = tmp_path / "code"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    mounted = os.getuid() == 0
    if mounted:
        # Permissions do not stop root; a read-only mount does.
        subprocess.run(["mount", "--bind", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    else:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)
    else:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def foreign(program: Program, code: Path, session_redis, postgres_server) -> Program:  # type: ignore[no-untyped-def]
    """Return the program in an environment where the project finds its servers and its code."""
    state = program.folder.parent / "run"
    program.environ = {
        **program.environ,
        **session_redis.environ,
        **postgres_server.environ,
        "TASK_SERVER_APP": "cl",
        "TASK_SERVER_CODE": str(code),
        "TASK_SERVER_RUNTIME_DIR": str(state),
    }
    return program


@contextlib.contextmanager
def gate(url: str) -> Iterator[psycopg2.extensions.cursor]:
    """Let no task get through PostgreSQL until `most_connections` opens the gate."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT pg_advisory_lock(1)")
        yield cursor


def most_connections(
    producer: subprocess.Popen[str], cursor: psycopg2.extensions.cursor, expected: int
) -> int:
    """
    Open the gate once *expected* tasks wait at it.

    Return the most connections of others that PostgreSQL had while *producer* ran.
    """
    most, closed = 0, True
    while producer.poll() is None:
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE wait_event = 'advisory')"
            " FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        count, waiting = cursor.fetchone() or (0, 0)
        most = max(most, count)
        if closed and waiting >= expected:
            cursor.execute("SELECT pg_advisory_unlock(1)")
            closed = False
        with contextlib.suppress(subprocess.TimeoutExpired):
            producer.wait(timeout=0.02)
    return most


def test_a_project_runs_unchanged_on_both_workers(
    foreign: Program, code: Path, postgres_server: local.Server
) -> None:
    """
    Both queues are worked off, 512 tasks share 20 connections, and the code is not written to.
    """
    before = sorted(code.rglob("*"))
    workers = [
        foreign.start("worker", name, PYTHONUNBUFFERED="1") for name in ("prefork", "gevent")
    ]
    for worker in workers:
        Output(worker, worker.stderr).until("ready.")

    with gate(postgres_server.client_url) as cursor:
        producer = subprocess.Popen(
            [sys.executable, "-c", PRODUCER],
            env={**foreign.environ, "PYTHONPATH": str(code)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # The default bound of the gevent worker, and the one task of prefork.
        most = most_connections(producer, cursor, expected=21)
    stdout, stderr = producer.communicate(timeout=120)

    assert 0 == producer.returncode, stderr
    # The same, and one connection of each other child of prefork.
    assert 21 <= most <= 20 + (os.cpu_count() or 1)
    result = json.loads(stdout)
    assert 5 == result["sum"]
    assert 14 == result["celery"]["doubled"]
    assert [number * 2 for number in range(512)] == [one["doubled"] for one in result["io_bound"]]
    assert {workers[1].pid} == {one["pid"] for one in result["io_bound"]}
    assert workers[0].pid != result["celery"]["pid"]
    assert before == sorted(code.rglob("*"))
    for name in ("prefork", "gevent"):
        ready = foreign("health", name, "--ready")
        assert 0 == ready.returncode, ready.stdout
    for worker in workers:
        worker.terminate()
        assert 0 == worker.wait(timeout=60)


def test_what_the_project_sets_is_kept_and_shown(foreign: Program) -> None:
    """
    The project's own task_acks_late wins over our default, and `config show` says so.
    """
    shown = foreign("config", "show", "prefork", "--json")

    assert 0 == shown.returncode, shown.stderr
    rows = {row["setting"]: row for row in json.loads(shown.stdout)}
    assert (False, "the project's own settings, instead of our true") == (
        rows["task_acks_late"]["value"],
        rows["task_acks_late"]["from"],
    )
    assert True is rows["task_reject_on_worker_lost"]["value"]


def test_its_settings_files_are_explained(foreign: Program) -> None:
    """
    One reads which file set a name, although the project loads the files itself.
    """
    explained = foreign("settings", "explain", "REDIS_URL")

    assert 0 == explained.returncode, explained.stderr
    assert "10-public.py: set" in explained.stdout
