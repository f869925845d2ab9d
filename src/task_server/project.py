"""The project's Celery app: how it is found, and how it gets our defaults."""

from collections.abc import Iterable
from typing import Any

from celery.app.utils import find_app

from task_server.defaults import Default
from task_server.errors import ConfigError, Problem


def find(name: str) -> Any:
    """
    Return the Celery app *name*: a module, an attribute of one, or a package with `celery.py`.

    Raises:
        ConfigError: When there is no such module, or no app in it.
    """
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
    except AttributeError as error:
        # An AttributeError from inside the project is the project's own affair.
        if getattr(error.obj, "__name__", None) != name.partition(":")[0]:
            raise
        message = f"{name!r} has no Celery app; name it as module:attribute"
    raise ConfigError([Problem("app", message)])


def apply(app: Any, defaults: Iterable[Default]) -> tuple[str, ...]:
    """
    Give *app* the *defaults*.

    Returns:
        The names of those that the project's own settings override.
    """
    overridden = []
    for default in defaults:
        name, _, key = default.name.partition(".")
        if not key:
            if app.conf.value_set_for(name):
                overridden.append(default.name)
            else:
                app.conf.add_defaults({name: default.value})
            continue
        options = dict(app.conf.get(name) or {})
        if key in options:
            overridden.append(default.name)
        else:
            app.conf[name] = {**options, key: default.value}
    return tuple(overridden)
