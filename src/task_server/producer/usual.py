"""Whether anything keeps messages of an app from the short way of `plain`."""

import os
from types import FunctionType
from typing import Any, Final

from celery import _state, signals
from celery.app import base, routes
from celery.backends.base import Backend
from kombu import messaging

from task_server.producer.kombu_producer import Pool
from task_server.producer.results import OnDemand

#: Their type stubs know only the public names.
state: Final[Any] = _state

publishers: Final[Any] = messaging.Producer
own_routes: Final[Any] = routes

#: What Celery makes once, and sends with.
_MADE: Final = ("router", "queues", "create_task_message", "send_task_message", "producer_pool")

#: Where they are defined.
_FILES: Final = frozenset(each.__file__ for each in (base, messaging))

#: These do nothing when a task is sent.
_IDLE: Final = frozenset({OnDemand.on_task_call, Backend.on_task_call})


class Usual:
    """
    Looks at what messages of *app* depend on, besides their options and arguments.

    Attributes:
        version: Grows when something has changed that messages show.
    """

    def __init__(self, app: Any) -> None:
        self.version = 0
        self._app = app
        self._seen: tuple[Any, ...] = ()
        self._functions: tuple[Any, ...] = ()
        self._are_theirs = False

    def is_so(self, *, ignores_result: bool) -> bool:
        """Return whether a message may go the short way, if it had no template yet."""
        app = self._app
        if (
            # A task that sends is the parent of what it sends.
            state._task_stack.stack  # noqa: SLF001 - as Celery asks it
            # Receivers may change a message.
            or signals.before_task_publish.receivers
            or signals.after_task_publish.receivers
            or signals.task_sent.receivers
            or not self._is_unwrapped()
            or app.conf["task_send_sent_event"]
            or not (ignores_result or type(app.backend).on_task_call in _IDLE)
        ):
            return False
        return self._has_static_routes()

    def _is_unwrapped(self) -> bool:
        """Whether Celery's and Kombu's own functions send: packages that trace wrap these."""
        functions = (type(self._app).send_task, publishers.publish, publishers._publish)  # noqa: SLF001
        if functions != self._functions:
            self._are_theirs = all(map(_is_theirs, functions))
            self._functions = functions
        return self._are_theirs

    def _has_static_routes(self) -> bool:
        """Whether a task has the same queue each time; notices when it has another one."""
        amqp = self._app.amqp
        made = vars(amqp)
        if made.get("_producer_pool") is None or "router" not in made:
            # Celery makes them with the first message; a worker has a pool before that.
            for name in _MADE:
                getattr(amqp, name)
        router = made.get("router")
        seen = (
            os.getpid(),  # it is in the message
            self._app.conf["task_default_queue"],
            made.get("queues"),
            made.get("create_task_message"),
            made.get("send_task_message"),
            router,
        )
        if seen != self._seen:
            self._seen = seen
            self.version += 1
        return isinstance(made["_producer_pool"], Pool) and all(
            type(one) is own_routes.MapRoute for one in router.routes
        )


def _is_theirs(function: Any) -> bool:
    """Return whether *function* is the one that Celery or Kombu has defined."""
    if type(function) is not FunctionType:
        return False
    return function.__code__.co_filename in _FILES
