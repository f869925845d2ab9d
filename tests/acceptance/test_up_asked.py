"""Commands that ask an `up` and leave it as it is: one runs for all of them."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.program import Program, program_in
from tests.support.site import SQLITE, TASKS, write_site


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Return the program in the folder of a project, whose `up` runs."""
    with program_in(tmp_path_factory.mktemp("asked")) as one:
        write_site(one.folder, SQLITE, TASKS)
        one.environ = {**one.environ, "TASK_SERVER_WORKERS_PREFORK_CONCURRENCY": "1"}
        up = one("up", "--worker", "prefork", "--flower-port", "0", "--detach")
        assert 0 == up.returncode, up.stderr
        yield one
        one("down")
        assert {} == one.left()


def test_names_that_are_not_there(program: Program) -> None:
    """
    The near ones are named.
    """
    restart, logs = program("restart", "prefrok"), program("logs", "flowr")

    assert (1, 2) == (restart.returncode, logs.returncode)
    assert "did you mean prefork?" in restart.stderr
    assert "did you mean flower?" in logs.stderr


def test_env_is_for_shells_and_files(program: Program) -> None:
    """
    A shell takes it, and so does a reader of .env; a URL of the user's is not printed.
    """
    shell, dotenv = program("env"), program("env", "--format", "dotenv")
    python = "import os; print(os.environ['CELERY_BROKER_URL'])"
    done = subprocess.run(
        ["sh", "-c", f'eval "$1"; "{sys.executable}" -c "{python}"', "sh", shell.stdout],
        capture_output=True,
        text=True,
        check=True,
    )

    url = program("env", "--format", "json").result["CELERY_BROKER_URL"]
    assert url == done.stdout.strip()
    assert f"CELERY_BROKER_URL='{url}'" in dotenv.stdout.splitlines()
    assert re.fullmatch(r"redis\+socket://\S+/redis\.sock\?virtual_host=\d+", url)


def test_health_and_check_find_what_it_runs(program: Program) -> None:
    """
    Without a variable: the worker's heartbeat, Flower's port and the servers are those of
    `up`, and each says so.
    """
    worker, flower = program("health", "prefork", "--ready"), program("health", "flower", "--ready")
    check = program("check", "--live", "--worker", "prefork", "--json")
    assert (0, 0) == (worker.returncode, flower.returncode), worker.stdout + flower.stdout
    assert "prefork: ready: " in worker.stdout
    assert "(of `task-server up`, pid " in worker.stdout
    assert "(of `task-server up`, pid " in flower.stdout
    found = json.loads(check.stdout)
    (of_up,) = [one for one in found if one["setting"] == "up"]
    assert "with the servers of task-server (pid " in of_up["message"]
    assert [] == [one for one in found if one["level"] == "error" and one["peer"]]
    delayed = program("delayed", "count")
    assert (0, True) == (delayed.returncode, "with the servers of task-server" in delayed.stderr)


def test_a_heartbeat_of_another_worker_is_not_mistaken(program: Program) -> None:
    """
    What the configuration names is asked, and so is a worker that `up` does not run.
    """
    named = program("health", "prefork", TASK_SERVER_RUNTIME_DIR=str(program.folder / "else"))
    other = program("health", "gevent", TMPDIR=str(program.folder))

    assert (1, 1) == (named.returncode, other.returncode)
    assert "of `task-server up`" not in named.stdout + other.stdout


def offered(program: Program, words: str) -> set[str]:
    """Return what a shell completes after *words*."""
    asked = {
        "_TASK_SERVER_COMPLETE": "bash_complete",
        "COMP_WORDS": f"task-server {words}",
        "COMP_CWORD": str(1 + words.count(" ")),
        "TASK_SERVER_COMPLETION_SECONDS": "60",
    }
    return {line.partition(",")[2] for line in program(**asked).stdout.splitlines()}


def test_a_shell_knows_what_it_runs(program: Program) -> None:
    """
    What can be restarted, and whose lines there are.
    """
    running = {one["name"] for one in json.loads(program("ps", "--json").stdout)}

    assert {"redis", "prefork", "flower"} <= running
    assert running == offered(program, "restart ")
    assert running | {"up"} == offered(program, "logs ")
    assert {"prefork"} == offered(program, "restart pre")
