"""The project's Celery app -> ProjectFacts."""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from celery.app.defaults import DEFAULTS

from task_server.checks.facts import ProjectFacts, TaskFacts
from task_server.errors import ConfigError
from task_server.project import celery_app, queues
from task_server.project.defaults import Default
from task_server.settings import explain, locate

#: The settings whose keys rules can read, as `broker_transport_options.KEY`.
OPTIONS = frozenset({"broker_transport_options", "result_backend_transport_options"})

#: The settings that rules can read: all of Celery's, and one that its Redis backend
#: reads besides.
NAMES = (*sorted(DEFAULTS.keys() - OPTIONS), "visibility_timeout")

#: Variables that Celery prefers to the project's settings.
VARIABLES: Mapping[str, str] = {
    "broker_url": "CELERY_BROKER_URL",
    "result_backend": "CELERY_RESULT_BACKEND",
}

#: Late acknowledgement by default, as in a worker. Preset before the import,
#: because the project may bind its tasks while it is imported.
ACKS_LATE = (Default("task_acks_late", True, ""),)


def read(app: Any, environ: Mapping[str, str], app_name: str | None = None) -> ProjectFacts:
    """
    Import the tasks of *app*, and return what the rules need.

    Sets up Django as a worker does, and connects to no server. *environ* is the
    environment as the project's code leaves it, *app_name* the value of `app`.

    Raises:
        Exception: Whatever the project's code raises.
    """
    own: dict[str, str] = {}
    for name in NAMES:
        if name in VARIABLES and environ.get(VARIABLES[name]):
            own[name] = VARIABLES[name]
        elif celery_app.is_set(app, name):
            own[name] = _written(app, name)
    values = {name: app.conf.get(name) for name in NAMES}
    for name in sorted(OPTIONS):
        for key, value in celery_app.table(app, name).items():
            values[f"{name}.{key}"] = value
            own[f"{name}.{key}"] = f"{_written(app, name)}[{key!r}]"
    celery_app.apply_defaults(app, ACKS_LATE)
    app.loader.import_default_modules()
    app.finalize()
    name = app.main if app_name is None else app_name
    kept, maker = _kept_loops(app.tasks.values())
    return ProjectFacts(
        values=values,
        own=own,
        origin=_origin(environ),
        named=queues.declared(app),
        seen=queues.seen(name or "", queues.django_settings()),
        shares_results=celery_app.shares_results(app.conf.result_backend),
        loops=kept,
        loop_maker=maker,
        tasks=tuple(
            _task(app, task)
            for name, task in sorted(app.tasks.items())
            if not name.startswith("celery.")
        ),
    )


def _written(app: Any, name: str) -> str:
    """Return *name* as a settings module writes it."""
    return f"{app.namespace}_{name}".upper() if app.namespace else name


def _origin(environ: Mapping[str, str]) -> Callable[[str], str]:
    def origin(written: str) -> str:
        if written in VARIABLES.values() and environ.get(written):
            return "the environment"
        module = environ.get("DJANGO_SETTINGS_MODULE")
        if module is None or not written.isupper():
            return "the project's Celery app"
        try:
            changes = explain(written, locate(module), environ)
        except ConfigError:
            changes = ()
        return str(changes[-1].file) if changes else module

    return origin


def _task(app: Any, task: Any) -> TaskFacts:
    return TaskFacts(
        name=task.name,
        acks_late=bool(task.acks_late),
        queue=queues.queue_of(app, task),
        time_limit=task.time_limit,
        soft_time_limit=task.soft_time_limit,
        longest_retry=_longest_retry(task),
    )


def _longest_retry(task: Any) -> float:
    """
    Return the longest countdown, in seconds, of a retry of *task*.

    The arithmetic is Celery's (`get_exponential_backoff_interval`): factor x
    2^n, at most `retry_backoff_max`; without backoff, `default_retry_delay`.
    """
    delay = float(task.default_retry_delay or 0)
    backoff = getattr(task, "retry_backoff", False)
    if not backoff:
        return delay
    most = float(getattr(task, "retry_backoff_max", 600))
    # Beyond 2^20 s a limit on the number of retries no longer limits the time.
    retries = 20 if task.max_retries is None else min(20, max(0, int(task.max_retries) - 1))
    return min(most, float(int(backoff) << retries))


def _kept_loops(tasks: Iterable[Any]) -> tuple[tuple[str, ...], str]:
    """
    Find event loops that are attributes of modules in the packages of *tasks*.

    Returns:
        Their names, and the package whose policy makes asyncio's loops; empty if
        it is asyncio's own.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return (), ""
    packages = {type(task).__module__.partition(".")[0] for task in tasks} - {"celery"}
    found = []
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] in packages:
            found += [
                f"{name}.{attribute}"
                for attribute, value in list(vars(module).items())
                # Not isinstance, which would evaluate lazy objects.
                if issubclass(type(value), asyncio.AbstractEventLoop)
            ]
    policy = type(getattr(asyncio.events, "_event_loop_policy", None)).__module__
    return tuple(found), "" if policy.startswith(("asyncio.", "builtins")) else policy
