"""Which project a command is for if none is named: the one that is there, or none."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import Program

FOREIGN = Path(__file__).parent / "foreign"

COMMANDS = (
    ("worker", "prefork"),
    ("worker", "gevent", "--print-argv"),
    ("check",),
    ("flower",),
    ("up",),
    ("dead", "list"),
)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_command_takes_the_reference_project_for_yours(
    arguments: tuple[str, ...], program: Program
) -> None:
    """
    In a folder without a project nothing is started; the line says how to name one. Exit 78.
    """
    ended = program(*arguments)

    assert (78, "") == (ended.returncode, ended.stdout)
    assert f"app: no Celery app was found in {program.folder}, which is empty" in ended.stderr
    assert "TASK_SERVER_APP=cl" in ended.stderr
    assert "docket" not in ended.stderr


def test_the_app_that_is_found_is_said_and_handed_to_the_worker(program: Program) -> None:
    """
    The line goes to standard error; what becomes the worker has the name in its environment.
    """
    shutil.copytree(FOREIGN / "cl", program.folder / "cl")

    printed = program("worker", "prefork", "--print-argv")

    assert 0 == printed.returncode, printed.stderr
    assert "env TASK_SERVER_APP=cl " in printed.stdout
    assert f"app: cl, found by the only package of {program.folder}" in printed.stderr


def test_what_is_found_is_shown_with_its_origin(program: Program) -> None:
    """
    `config show` prints the app, and how it was found; without one it shows the rest.
    """
    without = program("config", "show")
    shutil.copytree(FOREIGN / "cl", program.folder / "cl")
    found = program("config", "show")

    assert [0, 0] == [without.returncode, found.returncode]
    assert "no Celery app was found" in without.stderr
    row = next(line for line in found.stdout.splitlines() if line.startswith("app "))
    assert [f"the only package of {program.folder} with a Celery app", '"cl"'] == [
        row.partition('"cl"')[2].strip(),
        row.split()[1],
    ]


def test_an_empty_variable_is_no_name(program: Program) -> None:
    """
    As a compose file passes one on that is not set.
    """
    ended = program("worker", "prefork", TASK_SERVER_APP="")

    assert 78 == ended.returncode
    assert "app: it is empty" in ended.stderr


def test_celery_itself_with_our_app_needs_the_name(program: Program) -> None:
    """
    `celery --app task_server.app` is another door to the same worker: 78 as well.
    """
    done = subprocess.run(
        [sys.executable, "-m", "celery", "--app", "task_server.app", "report"],
        cwd=program.folder,
        env=dict(program.environ),
        capture_output=True,
        text=True,
        check=False,
    )

    assert 78 == done.returncode, done.stderr
    assert "app: set TASK_SERVER_APP" in done.stderr
