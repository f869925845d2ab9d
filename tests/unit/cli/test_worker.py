"""What `task-server worker NAME` says before it becomes Celery."""

from click.testing import CliRunner, Result

from task_server.cli import cli


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
    assert "there is no worker 'mail'; there are prefork, gevent, all" in wrong.output
