"""Secrets go by a pipe, once."""

import os
import subprocess
import sys

import pytest

from task_server.launch import handover

SECRET = {"CELERY_BROKER_URL": "redis://:hunter2@db/0"}


def test_what_is_given_is_taken_once() -> None:
    """
    The way to it is gone from the environment, and so is the pipe.
    """
    environ = {handover.VARIABLE: handover.write(SECRET), "PATH": "/bin"}
    number = int(environ[handover.VARIABLE])

    assert SECRET == handover.read(environ)
    assert {"PATH": "/bin"} == environ
    assert {} == handover.read(environ)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_the_environment_of_the_worker_has_none_of_them() -> None:
    """
    Neither Celery's variables nor those that they were made from; what is the user's stays.
    """
    environ = dict.fromkeys(handover.OURS, "hunter2") | SECRET | {"REDIS_URL": "mine"}

    rest = handover.environ_without(environ, SECRET)

    assert {"REDIS_URL", handover.VARIABLE} == rest.keys()
    handover.read(rest)


def test_a_program_finds_what_it_was_given() -> None:
    """
    The pipe goes over exec(2), and a long URL fits into it.
    """
    long = {"CELERY_RESULT_BACKEND": "redis://" + "x" * 30_000}
    number = handover.write(long)
    program = "import os; from task_server.launch import handover; print(handover.read(os.environ))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, handover.VARIABLE: number},
        pass_fds=[int(number)],
        capture_output=True,
        text=True,
        check=True,
    )
    os.close(int(number))

    assert f"{long}\n" == done.stdout


def test_a_worker_that_finds_nothing_says_so() -> None:
    """
    It does not go on with the project's own broker.
    """
    done = subprocess.run(
        [sys.executable, "-m", "task_server.celeryd", "--pool=prefork"],
        env={**os.environ, handover.VARIABLE: "77"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == done.returncode
    assert "Error: what the launcher handed over cannot be read" in done.stderr
