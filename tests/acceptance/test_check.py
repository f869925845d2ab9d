"""`task-server check` on the reference project, as an operator runs it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
import redis

from task_server import local
from tests.support.ports import own_port
from tests.support.program import Ended, Output, Program


@pytest.fixture
def program(program: Program) -> Program:
    """Return the program in an environment that names the reference project."""
    program.environ = {**program.environ, "TASK_SERVER_APP": "docket"}
    return program


def environ_of(program: Program) -> dict[str, str]:
    """Return what reaches the servers that `up` has started, which wait on sockets."""
    state = program.folder / ".task-server"
    sockets = local.State.open(state).socket_folder()
    return {
        "REDIS_URL": f"redis+socket://{sockets}/redis.sock?virtual_host=0",
        "DATABASE_URL": f"postgresql://postgres@{quote(str(sockets), safe='')}:5432/docket",
        "DJANGO_MEDIA_ROOT": str(state / "media"),
    }


@contextmanager
def password(environ: dict[str, str], value: str) -> Iterator[None]:
    """Have that Redis require a password of new connections."""
    path = environ["REDIS_URL"].removeprefix("redis+socket://").partition("?")[0]
    with redis.Redis(unix_socket_path=path) as client:
        client.config_set("requirepass", value)
        try:
            yield
        finally:
            client.config_set("requirepass", "")


def test_check_reports_what_is_up_and_what_is_not(program: Program) -> None:
    """
    With servers, migrations and folders in place nothing is wrong; a media folder that cannot
    be written, a Redis that does not run, and one that wants a password are each reported.
    """
    Output(program.start("up", "--flower-port", "0")).until("Flower is at ")
    environ = environ_of(program)
    port = own_port()

    right = program("check", "--live", "--stop-grace", "60", **environ)
    media = program("check", "--live", "--json", **{**environ, "DJANGO_MEDIA_ROOT": "/proc"})
    absent = program(
        "check", "--live", "--json", **{**environ, "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    )
    with password(environ, "hunter2"):
        refused = program("check", "--live", "--json", **environ)

    lines = right.stdout.splitlines()
    assert 0 == right.returncode, right.stdout
    assert {"ok", "info", "warning"} >= {line.split()[0] for line in lines[:-1]}
    # Of the tests' own user, who may be root.
    assert [] == [one for one in lines if one.startswith("warning") and " user: " not in one]
    for words in (
        "docket can be imported",
        "DATABASES['default'] migrations: all have run",
        "broker maxmemory-policy: noeviction",
        "media is writable by",
        "fit into the stop grace of 60 s",
        "512 concurrent tasks share 20 connections to PostgreSQL",
    ):
        assert words in right.stdout

    assert 78 == media.returncode
    (error,) = errors_of(media)
    assert "MEDIA_ROOT" == error["setting"]
    assert "/proc is not writable by" in error["message"]

    assert 69 == absent.returncode
    (error,) = errors_of(absent)
    assert ("broker", True) == (error["setting"], error["peer"])
    assert f"nothing listens at 127.0.0.1:{port}" in error["message"]

    assert 78 == refused.returncode
    (error,) = [one for one in errors_of(refused) if one["setting"] == "broker"]
    assert "wants a password, and the URL has none" in error["message"]


def errors_of(ended: Ended) -> list[dict[str, Any]]:
    return [one for one in json.loads(ended.stdout) if one["level"] == "error"]


def test_a_project_that_contradicts_its_workers(program: Program) -> None:
    """
    The settings of the project are judged without any server, and the file at fault is named.
    """
    settings = program.folder / "20-site.py"
    settings.write_text(
        "CELERY_TASK_ROUTES = {'docket.tasks.read': {'queue': 'reading'}}\n"
        "CELERY_BROKER_TRANSPORT_OPTIONS = {'visibility_timeout': 60}\n"
        "CELERY_TASK_ACKS_LATE = False\n"
    )

    ended = program(
        *("check", "--stop-grace", "10"),
        TASK_SERVER_SETTINGS_PATH=str(settings),
        TASK_SERVER_WORKERS_PREFORK_TRANSPORT="kombu",
    )

    assert 78 == ended.returncode
    found = {line.split(": ")[0].split(None, 1)[1]: line for line in ended.stdout.splitlines()[:-1]}
    assert "task docket.tasks.read" in found["queue reading"]
    assert (
        f"['visibility_timeout'] of {settings} is 60 s, not above"
        in (found["broker_transport_options.visibility_timeout"])
    )
    assert f"CELERY_TASK_ACKS_LATE of {settings} is False" in found["workers.prefork.delivery"]
    assert "loses the message" in found["workers.prefork.transport"]
    assert "killed after 10 s" in found["workers.prefork.drain_seconds"]


def test_a_project_that_is_not_there(program: Program) -> None:
    """
    A name without a module is one error; with --no-project it is not looked for.
    """
    looked = program("check", "--app", "no_such_project")
    left = program("check", "--app", "no_such_project", "--no-project")

    assert 78 == looked.returncode
    assert "error    app: there is no module 'no_such_project'; set `code`" in looked.stdout
    assert 0 == left.returncode


def test_a_worker_that_does_not_exist_is_wrong_usage(program: Program) -> None:
    """
    A worker's name is checked against the configuration, its number must be one.
    """
    unknown = program("check", "--worker", "mail=2")
    number = program("check", "--worker", "gevent=many")

    assert (2, 2) == (unknown.returncode, number.returncode)
    assert "unknown worker 'mail'" in unknown.stderr
    assert "'many' is not a number of workers; write gevent=2" in number.stderr
