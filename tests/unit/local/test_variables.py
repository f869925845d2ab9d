"""The variables that are printed for the project's other processes."""

import json
import subprocess

import pytest

from task_server.local.variables import FORMATS, Variable, other_processes, resolved

ODD = "redis://:p'a\"s $HOME `x`@db/0"


def test_what_the_user_has_set_is_not_printed() -> None:
    """
    Their own REDIS_URL is referred to where another variable has its value.
    """
    users = {"REDIS_URL": "redis://:hunter2@db", "DATABASE_URL": "postgres://:hunter3@db"}
    ours = {**users, "CELERY_BROKER_URL": users["REDIS_URL"], "PGHOST": "/run"}

    found = other_processes(
        ["REDIS_URL", "CELERY_BROKER_URL", "DATABASE_URL", "PGHOST"], ours, users
    )

    assert (
        Variable("CELERY_BROKER_URL", reference="REDIS_URL"),
        Variable("PGHOST", "/run"),
    ) == found
    texts = {name: write(found) for name, write in FORMATS.items()}
    assert "hunter" not in "".join(texts.values())
    assert 'export CELERY_BROKER_URL="$REDIS_URL"' in texts["shell"]
    assert "CELERY_BROKER_URL=${REDIS_URL}" in texts["dotenv"]
    assert {"CELERY_BROKER_URL": "${REDIS_URL}", "PGHOST": "/run"} == json.loads(texts["json"])


def test_a_shell_reads_what_was_meant() -> None:
    """
    Whatever the value has in it.
    """
    text = FORMATS["shell"]([Variable("A", ODD)])

    done = subprocess.run(
        ["sh", "-c", f'{text}\nprintf %s "$A"'], capture_output=True, text=True, check=True
    )

    assert ODD == done.stdout


def test_a_reader_of_dotenv_reads_what_was_meant() -> None:
    """
    As python-dotenv does, where that is installed.
    """
    dotenv = pytest.importorskip("dotenv")
    import io  # noqa: PLC0415

    text = FORMATS["dotenv"]([Variable("A", ODD)])

    assert {"A": ODD} == dotenv.dotenv_values(stream=io.StringIO(text), interpolate=False)


def test_a_command_takes_what_its_environment_lacks() -> None:
    """
    References are followed in it; one that leads nowhere is left out.
    """
    variables = [
        Variable("A", "ours"),
        Variable("B", reference="REDIS_URL"),
        Variable("C", reference="ABSENT"),
        Variable("D", "ours"),
    ]

    found = resolved(variables, {"REDIS_URL": "redis://db", "D": "mine"})

    assert {"A": "ours", "B": "redis://db"} == found
