"""What `task-server worker NAME` says before it becomes Celery."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from task_server.cli import cli
from task_server.errors import ConfigError


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(cli, ["worker", *arguments], env=environ, prog_name="task-server")


def test_the_printed_command_is_whole_but_for_its_secrets() -> None:
    """
    --print-argv shows variables and arguments; passwords are masked wherever they stand.
    """
    printed = run(
        "gevent",
        "--print-argv",
        "--app=cl",
        TASK_SERVER_BROKER_URL="redis://:hunter2@db/0",
        TASK_SERVER_RESULT_BACKEND="redis://:hunter2@db/1",
    )

    assert 0 == printed.exit_code
    assert "hunter2" not in printed.output
    assert "TASK_SERVER_APP=cl" in printed.output
    assert "CELERY_RESULT_BACKEND=********" in printed.output
    assert "-m task_server.celeryd --pool=gevent" in printed.output


def test_an_unknown_worker_is_named_with_those_there_are() -> None:
    """
    A wrong name is a usage error that lists the right ones.
    """
    wrong = run("mail")

    assert 2 == wrong.exit_code
    assert "unknown worker 'mail'; choose prefork, gevent or all" in wrong.output
    assert "[workers.mail] in task-server.toml" in " ".join(wrong.output.split())
    assert "TASK_SERVER_WORKERS_MAIL_QUEUES" in wrong.output


@pytest.mark.parametrize("variable", ["TMPDIR", "TASK_SERVER_RUNTIME_DIR"])
def test_a_folder_of_heartbeats_that_somebody_else_prepared_is_refused(
    tmp_path: Path, variable: str
) -> None:
    """
    Its name can be guessed: the worker says which it is and what to do, and does not start.
    """
    name = tmp_path / f"task-server-{os.getuid()}"
    (tmp_path / "elsewhere").mkdir()
    name.symlink_to(tmp_path / "elsewhere")

    refused = run("prefork", **{variable: str(tmp_path if variable == "TMPDIR" else name)})

    assert isinstance(refused.exception, ConfigError)
    assert 78 == refused.exception.exit_code
    assert f"runtime_dir: {name} is a link to {tmp_path}/elsewhere" in str(refused.exception)
    assert [] == list((tmp_path / "elsewhere").iterdir())
