"""The project's Celery app: how it is found, and how it gets our defaults."""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from celery import VERSION
from celery.app.defaults import (  # type: ignore[attr-defined]
    _OLD_DEFAULTS,
    _TO_OLD_KEY,
    DEFAULTS,
)
from celery.app.task import Task
from celery.app.utils import Settings, find_app

from task_server.config.urls import fault
from task_server.errors import ConfigError, Problem
from task_server.launch import folders
from task_server.launch.spec import SETUP_VARIABLE
from task_server.project.defaults import Default
from task_server.project.import_errors import explained

#: Kinds of URLs of Redis, as a result backend.
SHARED_RESULTS = ("redis", "rediss", "sentinel", "socket", "unix")

#: The Celery from which on one at a time uses the subscription of a shared result backend.
TURNS_SINCE = (5, 7)


def load_app(name: str) -> Any:
    """
    Return the Celery app *name*: a module, an attribute of one, or a package with `celery.py`.

    Raises:
        ConfigError: When there is no such module, no app in it, or a file of it
            that this user cannot read; or, as `import_errors.explained` has it, when
            the project's own code raises.
        PeerError: When a server that its import asks does not answer.
    """
    with explained(name, os.environ):
        _set_up(os.environ.get(SETUP_VARIABLE))
        app = _find(name)
        _read_settings()
        return app


def _set_up(function: str | None) -> None:
    """Call the *function* that the project needs called before its app is imported, if any."""
    if not function:
        return
    module, _, name = function.partition(":")
    try:
        called = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        message = f"there is no module {error.name!r}; set `code` to the folder it lies in"
        raise ConfigError([Problem("setup", message)]) from error
    except AttributeError as error:
        if getattr(error.obj, "__name__", None) != module:
            raise
        message = f"the module {module!r} has no function {name!r}"
        raise ConfigError([Problem("setup", message)]) from error
    called()


def _read_settings() -> None:
    """
    Let Django read its settings, which it puts off until somebody asks for one.

    Celery asks first, and takes a KeyError in there, as of a variable that is
    missing, for a setting that is absent.
    """
    django = sys.modules.get("django.conf")
    # As Celery's own fixup has it, which would read them a moment later.
    if django is not None and os.environ.get("DJANGO_SETTINGS_MODULE"):
        dir(django.settings)


def _find(name: str) -> Any:
    try:
        return find_app(name)
    except ModuleNotFoundError as error:
        module, _, attribute = name.partition(":")
        missing = error.name or ""
        if attribute and missing == name:
            message = f"the module {module!r} has no attribute {attribute!r}"
        elif f"{module}.".startswith(f"{missing}."):
            message = f"there is no module {missing!r}; set `code` to the folder it lies in"
        else:
            raise
    except PermissionError as error:
        # One that is not about code is the project's own affair.
        if not str(error.filename).endswith(".py"):
            raise
        file = Path(error.filename)
        message = (
            f"{file} cannot be read by {folders.user()}{folders.owner(file)}; "
            "let that user read the code, such as: chmod -R o+rX FOLDER"
        )
    except AttributeError as error:
        # An AttributeError from inside the project is the project's own affair.
        if getattr(error.obj, "__name__", None) != name.partition(":")[0]:
            raise
        message = f"{name!r} has no Celery app; name it as module:attribute"
    raise ConfigError([Problem("app", message)])


def shares_results(backend: Any) -> bool:
    """
    Whether greenlets may share the result *backend*, a URL or None: Redis, from Celery 5.7 on.

    Up to 5.6 one subscribes to a result while another reads, which gevent refuses. What other
    backends do is not known.
    """
    if str(backend or "redis").partition(":")[0].rpartition("+")[2] not in SHARED_RESULTS:
        return False
    return VERSION[:2] >= TURNS_SINCE


def preset_defaults(defaults: Iterable[Default]) -> None:
    """
    Give those of the *defaults* that are about tasks to every app that is yet to be made.

    A task is bound to what its app's settings say at that moment, and keeps it. A
    project that calls `app.register_task` or reads `app.tasks` while it is
    imported binds them all before `apply_defaults` can be called: they would be
    acknowledged before they run.
    """
    attributes = {setting: attribute for attribute, setting in Task.from_config}
    for default in defaults:
        if default.name.startswith("task_"):
            DEFAULTS[default.name] = default.value
            # Celery's table for a project that writes its settings in the old way.
            _OLD_DEFAULTS[_TO_OLD_KEY[default.name]] = default.value
            # Celery 5.6 binds no time limits to tasks: the worker's argument counts.
            if default.by and default.name in attributes:
                # A task that says nothing itself has this, whatever the project's settings say.
                setattr(Task, attributes[default.name], default.value)


def is_set(app: Any, name: str) -> bool:
    """
    Whether the project itself sets *name*, under any of the names that Celery knows for it.

    Celery 5.6 answers `value_set_for` wrongly for settings in a namespace, as
    Django's are, and for old names; looking the value up knows all of them.
    """
    app.conf.finalize()
    # Until then it is another object.
    conf = app.conf
    own = Settings({}, conf.maps[:-1], conf._keys, conf.prefix)  # noqa: SLF001
    try:
        own[name]
    except KeyError:
        return False
    return True


def own_settings(app: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return what the project itself sets of *names*; a dotted name is a dictionary's key."""
    found = {}
    for full in names:
        name, _, key = full.partition(".")
        if not key and is_set(app, name):
            found[full] = app.conf[name]
        elif key and key in table(app, name):
            found[full] = app.conf[name][key]
    return found


def table(app: Any, name: str) -> Mapping[str, Any]:
    """
    Return the setting *name* of *app*, which is a dictionary; None counts as an empty one.

    Raises:
        ConfigError: When it is something else.
    """
    value = app.conf.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        kind = type(value).__name__
        message = f"the project's setting is no dictionary but of the type {kind}; correct it"
        raise ConfigError([Problem(name, message)], "the project's settings")
    return value


def apply_defaults(app: Any, defaults: Iterable[Default]) -> dict[str, Any]:
    """
    Give *app* the *defaults*: what the operator said, and the rest where the project says nothing.

    Returns:
        What the project itself sets of them, by name; it is in force but where
        the operator gave the value (`Default.by`).
    """
    defaults = tuple(defaults)
    theirs = own_settings(app, [default.name for default in defaults])
    for default in defaults:
        if default.name in theirs and not default.by:
            continue
        name, _, key = default.name.partition(".")
        if key:
            _put(app, name, {**table(app, name), key: default.value})
        else:
            _put(app, name, default.value)
    return theirs


def use_broker(app: Any, *, broker: str | None) -> None:
    """
    Let *app* send to *broker* and take from it, if the operator named one.

    Celery lets CELERY_BROKER_URL win over `broker_url`, and the project's
    `broker_read_url` and `broker_write_url` win over that.
    """
    if broker is not None:
        for name in ("broker_read_url", "broker_write_url"):
            if is_set(app, name):
                _put(app, name, broker)


def check_urls(app: Any) -> None:
    """
    Check that the URLs of *app* can be parsed; of others Celery would log a part.

    Raises:
        ConfigError: When host and password are ambiguous.
    """
    problems: dict[str, Problem] = {}
    for name in ("broker_url", "broker_read_url", "broker_write_url", "result_backend"):
        url = getattr(app.conf, name)
        wrong = fault(url) if isinstance(url, str) else None
        if wrong:
            # Without a URL of its own each has that of the first.
            problems.setdefault(url, Problem(name, wrong))
    if problems:
        raise ConfigError(list(problems.values()), "the project's settings")


def override(app: Any, name: str, value: Any) -> None:
    """Let *app* have *value* as its setting *name*, whatever the project says."""
    _put(app, name, value)


def set_url(app: Any, name: str, url: str) -> None:
    """
    Let *app* have *url* as its setting *name*, when the variable that gave it is gone.

    Celery asks for the variable each time, and for the setting where there is none.
    """
    _put(app, name, url)


def _put(app: Any, name: str, value: Any) -> None:
    """Set *name*, with the project's prefix as well: Celery 5.6 looks there first."""
    conf = app.conf
    for key in conf._to_keys(name):  # noqa: SLF001
        conf[key] = value
