"""Installs all of this in Celery apps: those of the process, and those to come."""

from typing import Any, Final

from celery import _state as _celery_state

from task_server.producer import amqp, canvas, plain, results
from task_server.results import groups, parents
from task_server.transport.versions import problem

#: Its type stubs know only the public names.
_state: Final[Any] = _celery_state


def install(app: Any) -> bool:
    """
    Make `delay()` cheap in *app*, and stamp what it sends; see `task_server.producer`.

    Returns:
        Whether it is done, or will be when the app is finalized. With a Kombu whose private
        methods are unknown it is not.
    """
    if problem() is not None:
        return False
    if "amqp" in vars(app) or app._conf is not None:  # noqa: SLF001 - app.conf would load it
        _adopt(app)
    else:
        _state.connect_on_app_finalize(lambda one: _adopt(one) if one is app else None)
    return True


def install_in_all() -> None:
    """Install in every app of this process, and in those to come."""
    if problem() is not None:
        return
    for app in list(_state._get_active_apps()):  # noqa: SLF001 - there is no other way
        install(app)
    _state.connect_on_app_finalize(_adopt)


def _adopt(app: Any) -> None:
    amqp.adopt(app.amqp)
    canvas.install()
    results.adopt(app)
    plain.adopt(app)
    # Of all apps: the classes are Celery's.
    parents.install()
    groups.install()
