"""The task-server.toml that `init` writes, and what an existing one lacks of it."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from task_server.config.loader import load
from task_server.errors import ConfigError
from task_server.local.survey.difference import differences, table_of
from task_server.local.survey.document import document
from task_server.local.survey.facts import Beat, Project, Queue, Server, Survey


def survey(*names: str, app: str = "cl", **rest: str) -> Survey:
    queues = tuple(Queue(one, "task_routes") for one in names or ("celery",))
    return Survey(app=app, how="manage.py", project=Project(queues=queues), **rest)  # type: ignore[arg-type]


def test_forty_queues_are_one_word(write: Callable[[str], Path]) -> None:
    """
    No list of names, in the settings or beside them, and the file is one of ours.
    """
    text = document(survey(*(f"batch{number}" for number in range(38)), "io_bound", "celery"))
    config = load(write(text), {})

    assert ("all",) == config.workers["prefork"].queues
    assert ("--exclude-queues=io_bound",) == config.workers["prefork"].extra_args
    assert ("io_bound",) == config.workers["gevent"].queues
    assert "and 33 more" in text
    assert "batch20" not in text


def test_without_a_queue_for_gevent_its_built_in_one_waits(write: Callable[[str], Path]) -> None:
    """
    So that the first task sent to io_bound runs there, and not on both.
    """
    config = load(write(document(survey("celery"))), {})

    assert ("io_bound",) == config.workers["gevent"].queues
    assert ("--exclude-queues=io_bound",) == config.workers["prefork"].extra_args


@pytest.mark.parametrize(
    "odd",
    [
        'a"]\n[flower]\nport = 1',
        "tab\tnew\nline",
        "\x1b[2J",
        'quote"backslash\\',
        "\ud800",
        "\u2028",
        "\U0001f600",
        "\x7f",
    ],
)
def test_what_a_project_is_called_stays_text(odd: str, write: Callable[[str], Path]) -> None:
    """
    Names, notes and reasons that hold TOML, line ends or escapes do not leave their place.
    """
    found = Survey(
        app=odd,
        how="",
        code=odd,
        settings_module=odd,
        settings_how=odd,
        notes=(odd,),
        failure=odd,
        project=Project(
            queues=(Queue(odd, odd), Queue(f"http {odd}", odd)),
            servers=(Server("broker", odd, odd, odd, (odd,)),),
            beat=Beat(1, odd),
        ),
    )
    text = document(found)
    table = tomllib.loads(text)

    assert {"app", "code", "settings_module", "workers"} == set(table)
    assert odd.encode("utf-8", "replace").decode() == table["app"]
    text.encode()
    assert not any(ord(one) < 32 and one != "\n" for one in text)


def test_addresses_are_not_written() -> None:
    """
    The file is committed; where a server is differs from machine to machine.
    """
    servers = (Server("broker", "redis", "redis://:***@10.0.0.7", "CELERY_BROKER_URL", ("R",)),)
    text = document(Survey(app="cl", how="", project=Project(servers=servers)))

    assert "10.0.0.7" not in text
    assert "broker: redis, set by CELERY_BROKER_URL, read from R" in text


def test_only_what_was_found_is_a_difference() -> None:
    """
    What the operator added is nobody's mistake.
    """
    own = {"app": "cl", "workers": {"prefork": {"queues": ["a", "b"], "concurrency": 4}}}
    lines = differences(own, document(survey("a", "io_bound")))

    assert '- workers.prefork.queues = ["a", "b"]' in lines
    assert '+ workers.prefork.queues = "all"' in lines
    assert '+ workers.gevent.queues = ["io_bound"]' in lines
    assert not [line for line in lines if "concurrency" in line or "app" in line]


def test_a_file_differs_in_nothing_from_itself() -> None:
    """
    Then `init` has nothing to say.
    """
    text = document(survey("celery", "webhooks", code="backend", setup="nautobot:setup"))

    assert [] == differences(tomllib.loads(text), text)


def test_an_existing_file_that_is_none_is_one_error(tmp_path: Path) -> None:
    """
    And not a traceback.
    """
    path = tmp_path / "task-server.toml"
    path.write_bytes(b"\xff[")

    with pytest.raises(ConfigError, match=r"task-server\.toml"):
        table_of(path)
