"""A project's Celery app is read as a worker would have it."""

from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

from task_server.checks.inspect import read


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the shared tasks of docket, which other tests import, out of these apps."""
    monkeypatch.setattr("celery._state._on_app_finalizers", set())


def nothing() -> None:
    """Be a task."""


def app_with(**settings: Any) -> Celery:
    app = Celery("cl", set_as_current=False)
    app.conf.update(settings)
    return app


def test_the_settings_of_the_project_are_told_from_those_of_celery() -> None:
    """
    Only what the project itself sets counts as its own; keys of dictionaries one by one.
    """
    app = app_with(task_acks_late=False, broker_transport_options={"visibility_timeout": 60})

    facts = read(app, {})

    assert {"task_acks_late", "broker_transport_options.visibility_timeout"} == set(facts.own)
    assert 60 == facts.chosen("broker_transport_options.visibility_timeout")
    assert "task_acks_late of the project's Celery app" == facts.source_of("task_acks_late")


def test_a_variable_of_celery_is_named() -> None:
    """
    CELERY_BROKER_URL wins over the project, so it is what is named.
    """
    facts = read(app_with(), {"CELERY_BROKER_URL": "redis://db"})

    assert "CELERY_BROKER_URL of the environment" == facts.source_of("broker_url")


def test_tasks_carry_what_they_declare() -> None:
    """
    Limits, early acknowledgement and the longest retry are read off each task.
    """
    app = app_with()
    app.task(shared=False, name="a", acks_late=False, time_limit=90, soft_time_limit=60)(nothing)
    app.task(shared=False, name="b", retry_backoff=5, retry_backoff_max=1000, max_retries=4)(
        nothing
    )
    app.task(shared=False, name="c", retry_backoff=True, max_retries=None)(nothing)
    app.task(shared=False, name="d", default_retry_delay=7200)(nothing)

    tasks = {task.name: task for task in read(app, {}).tasks}

    assert (False, 90, 60) == (
        tasks["a"].acks_late,
        tasks["a"].time_limit,
        tasks["a"].soft_time_limit,
    )
    assert tasks["b"].acks_late
    assert [40, 600, 7200] == [tasks[name].longest_retry for name in "bcd"]


@pytest.mark.filterwarnings("ignore::celery.exceptions.CDeprecationWarning")
def test_queues_are_those_of_routes_tasks_and_declarations() -> None:
    """
    A route by pattern, a task's own queue, task_queues and the default queue are all found.
    """
    app = app_with(
        task_default_queue="web",
        task_queues=[Queue("web"), Queue("batch1")],
        task_routes={"feeds.*": {"queue": "feeds"}, "one": "single"},
    )
    app.task(shared=False, name="feeds.poll")(nothing)
    app.task(shared=False, name="mine", queue="own")(nothing)
    app.task(shared=False, name="plain")(nothing)

    facts = read(app, {})

    assert {"feeds.poll": "feeds", "mine": "own", "plain": "web"} == {
        task.name: task.queue for task in facts.tasks
    }
    assert {
        "web": ["task_default_queue", "task_queues", "the task plain"],
        "batch1": ["task_queues"],
        "feeds": ["task_routes['feeds.*']", "the task feeds.poll"],
        "single": ["task_routes['one']"],
        "own": ["the task mine"],
    } == facts.named


def test_a_router_that_wants_arguments_hides_only_its_queue() -> None:
    """
    A router of the project that fails without a call's arguments is no error of the project.
    """

    def by_court(
        name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any
    ) -> Any:
        return {"queue": args[0]}

    app = app_with(task_routes=(by_court,))
    app.task(shared=False, name="a")(nothing)

    facts = read(app, {})

    assert [None] == [task.queue for task in facts.tasks]


def test_the_file_of_layered_settings_is_named(tmp_path: Path, monkeypatch) -> None:
    """
    Where settings lie in files, the file that set it last is what is named.
    """
    folder = tmp_path / "layered_project"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "10-public.py").write_text("CELERY_TASK_ACKS_LATE = True\n")
    (folder / "20-site.py").write_text("CELERY_TASK_ACKS_LATE = False\n")
    monkeypatch.syspath_prepend(tmp_path)
    app = Celery("cl", set_as_current=False)
    app.config_from_object({"CELERY_TASK_ACKS_LATE": False}, namespace="CELERY")

    facts = read(app, {"DJANGO_SETTINGS_MODULE": "layered_project"})

    assert f"CELERY_TASK_ACKS_LATE of {folder / '20-site.py'}" == facts.source_of("task_acks_late")
