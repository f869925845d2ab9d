"""The project's own settings win over every default, however they are written."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from task_server.errors import ConfigError
from task_server.project import celery_app
from task_server.project.defaults import Default

DEFAULTS = (
    Default("task_acks_late", True, "a reason"),
    Default("task_reject_on_worker_lost", True, "a reason"),
    Default("broker_transport_options.max_connections", 528, "a reason"),
    Default("broker_transport_options.visibility_timeout", 3600, "a reason"),
)


def in_a_namespace() -> Celery:
    settings = SimpleNamespace(
        CELERY_TASK_ACKS_LATE=False, CELERY_BROKER_TRANSPORT_OPTIONS={"max_connections": 3}
    )
    app = Celery("namespace", set_as_current=False)
    app.config_from_object(settings, namespace="CELERY")
    return app


def without_one() -> Celery:
    settings = SimpleNamespace(
        task_acks_late=False, broker_transport_options={"max_connections": 3}
    )
    app = Celery("plain", set_as_current=False)
    app.config_from_object(settings)
    return app


def one_by_one() -> Celery:
    app = Celery("attributes", set_as_current=False)
    app.conf.task_acks_late = False
    app.conf.broker_transport_options = {"max_connections": 3}
    return app


def with_old_names() -> Celery:
    settings = SimpleNamespace(
        CELERY_ACKS_LATE=False, BROKER_TRANSPORT_OPTIONS={"max_connections": 3}
    )
    app = Celery("old", set_as_current=False)
    app.config_from_object(settings)
    return app


@pytest.mark.parametrize("make", [in_a_namespace, without_one, one_by_one, with_old_names])
def test_what_the_project_sets_is_kept_and_the_rest_is_ours(make: Any) -> None:
    """
    Both kinds of setting are distinguished, a dictionary's keys one by one, and reported.
    """
    app = make()

    overridden = celery_app.apply_defaults(app, DEFAULTS)

    assert {
        "task_acks_late": False,
        "broker_transport_options.max_connections": 3,
    } == overridden
    assert (False, True) == (app.conf.task_acks_late, app.conf.task_reject_on_worker_lost)
    assert {"max_connections": 3, "visibility_timeout": 3600} == app.conf.broker_transport_options


@pytest.mark.parametrize("make", [in_a_namespace, without_one, one_by_one, with_old_names])
def test_what_the_operator_says_replaces_what_the_project_sets(make: Any) -> None:
    """
    In each way of writing settings the operator's word is in force, and what it replaces is named.
    """
    app = make()

    said = [replace(one, by="task-server.toml") for one in DEFAULTS]
    replaced = celery_app.apply_defaults(app, said)

    assert {"task_acks_late": False, "broker_transport_options.max_connections": 3} == replaced
    assert app.conf.task_acks_late
    assert {
        "max_connections": 528,
        "visibility_timeout": 3600,
    } == app.conf.broker_transport_options


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent_project", "there is no module 'absent_project'"),
        ("absent_project:app", "there is no module 'absent_project'"),
        ("json:nothing", "the module 'json' has no attribute 'nothing'"),
        ("json", "'json' has no Celery app"),
    ],
)
def test_an_app_that_cannot_be_found_is_named(name: str, message: str) -> None:
    """
    A wrong name of the app is one line that says which part of it is wrong.
    """
    with pytest.raises(ConfigError) as caught:
        celery_app.load_app(name)

    assert message in str(caught.value)
