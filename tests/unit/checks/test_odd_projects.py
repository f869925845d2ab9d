"""Settings of a project that are not what Celery's documentation has them: lines, no tracebacks."""

from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from task_server.checks import Context, offline, spec_of, used
from task_server.checks.inspect import OPTIONS, read
from task_server.config.model import Config
from task_server.errors import ConfigError
from task_server.launch.machine import this_machine
from task_server.launch.precedence import NUMBERS, with_project, worker_spec
from task_server.project import celery_app
from task_server.project.defaults import worker_defaults

ODD: tuple[Any, ...] = (
    *(None, "", "abc", "600", "*", -1, 0, 7, 1e400, float("nan"), True, b"x"),
    *([], {}, [None], {None: None}, {"a": None}, {"a": {"queue": 7}}, (7, [7]), timedelta(1)),
    *(object(), print, "redis://:x/y@h/0", "9" * 5000),
)

#: What the rules, and a worker at its start, read.
SETTINGS = (
    *("accept_content", "broker_url", "result_accept_content", "result_backend"),
    *("result_expires", "task_acks_late", "task_always_eager", "redis_max_connections"),
    *("task_default_queue", "task_ignore_result", "task_reject_on_worker_lost"),
    *("task_send_sent_event", "task_serializer", "task_soft_time_limit", "task_time_limit"),
    *("visibility_timeout", "worker_concurrency", "worker_max_memory_per_child", "worker_pool"),
    *("worker_prefetch_multiplier", "worker_send_task_events", *sorted(OPTIONS)),
    *("task_queues", "task_routes", "beat_schedule"),
)

KEYS = ("visibility_timeout", "max_connections")

DOTTED = [(name, key) for name in sorted(OPTIONS) for key in KEYS]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the shared tasks of docket, which other tests import, out of these apps."""
    monkeypatch.setattr("celery._state._on_app_finalizers", set())
    # The source of all the tests is none of theirs.
    monkeypatch.setattr("task_server.project.queues.source._folders", lambda _: [])
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.delenv(name, raising=False)


def app_of(settings: dict[str, Any]) -> Celery:
    app = Celery("odd", set_as_current=False)
    app.conf.update({"broker_url": "redis://db/0", **settings})

    @app.task(name="odd.task", shared=False)
    def task() -> None: ...

    return app


def judge(settings: dict[str, Any]) -> None:
    """Inspect an app with *settings* as `check` does, and as a worker does at its start."""
    facts = read(app_of(settings), {}, "odd")
    config = Config()
    counts = used(config, facts)
    context = Context(
        config=config,
        workers={name: spec_of(config, name, facts) for name in counts},
        counts=counts,
        facts=facts,
    )
    assert list(offline(context))
    app = app_of(settings)
    own = celery_app.own_settings(app, (*NUMBERS, "worker_pool"))
    spec = with_project(worker_spec(config, "prefork", this_machine()), own)
    celery_app.apply_defaults(app, worker_defaults(spec, None))


@pytest.mark.filterwarnings("ignore::celery.exceptions.CDeprecationWarning")
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_any_type_ends_neither_check_nor_worker(name: str) -> None:
    """
    It is checked, skipped, or reported as an error of the configuration.
    """
    for value in ODD:
        try:
            judge({name: value})
        except ConfigError as error:
            assert str(error)  # noqa: PT017 - any value may be a mistake, or none


@pytest.mark.parametrize(("name", "key"), DOTTED)
def test_an_option_of_any_type_ends_neither(name: str, key: str) -> None:
    """
    The same for the keys of dictionaries.
    """
    for value in ODD:
        judge({name: {key: value}})
