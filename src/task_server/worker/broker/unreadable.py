"""
A message that Celery cannot run neither ends the worker nor is dropped.

Celery's consumer drops messages it does not understand, and ends at those it does
not expect (`timelimit: 7`): the message returns to the head of its queue and ends
the next worker. Here such a message moves to the list of unreadable messages, with
the reason. The atomic transport keeps that list, and moves there what fails before
it reaches Celery; with Kombu's transport nothing is changed.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.worker import state as worker_state

from task_server.worker.patching import patch

logger = logging.getLogger(__name__)

state: Any = worker_state

#: Time limits that most messages have.
_NO_LIMITS = ((None, None), [None, None])

#: Upper bound of a valid time limit; NaN fails the comparison.
MOST_SECONDS = 1e12


def install_in_consumer(consumer: Any, *, green: bool) -> None:
    """
    Have *consumer*, before it consumes, move the messages that it would drop.

    Args:
        green: The pool is of greenlets, which `install_in_controller` does not guard.
    """
    for name, words in (
        ("on_unknown_message", "it is no message of a task"),
        ("on_invalid_task", "Celery refuses it"),
    ):
        patch(consumer, name, _replacement(consumer, getattr(consumer, name), words))
    on_decode_error = consumer.on_decode_error

    def undecoded(message: Any, error: Exception) -> Any:
        if not move_to_unreadable(message, f"its body cannot be decoded: {_named(error)}"):
            on_decode_error(message, error)

    patch(consumer, "on_decode_error", undecoded)
    if green:
        patch(consumer, "on_task_request", _guarded(consumer.on_task_request, _no_slot))


def install_in_controller(controller: Any) -> None:
    """Have *controller*, of a pool of processes, move the messages that the pool cannot take."""
    process, release = controller._process_task, controller._quick_release  # noqa: SLF001

    def free_slot(request: Any) -> None:
        release()
        # The pool knows the job already if it could not be written to a child.
        for job in list(controller.pool._pool._cache.values()):  # noqa: SLF001
            # Another job may have the same id.
            if getattr(job._callback, "__self__", None) is request:  # noqa: SLF001
                job.discard()

    patch(controller, "_process_task", _guarded(process, free_slot))


def move_to_unreadable(message: Any, reason: str) -> bool:
    """
    Move *message* to the unreadable messages; return False if its transport has no such list.

    Raises:
        ConnectionError: Or another of the transport's, when Redis does not answer.
    """
    move = getattr(getattr(message.channel, "qos", None), "move_to_unreadable", None)
    if move is None:
        return False
    if not message.acknowledged:
        move(message.delivery_tag, reason)
        message._state = "REJECTED"  # noqa: SLF001 - what message.reject() sets
    return True


def _replacement(consumer: Any, original: Callable[..., Any], words: str) -> Callable[..., Any]:
    """Return the replacement of the consumer's method *original*."""

    def on_message(body: Any, message: Any, error: Exception | None = None) -> Any:
        reason = f"{words}: {_named(error)}" if error else words
        if move_to_unreadable(message, reason):
            signals.task_rejected.send(sender=consumer, message=message, exc=error)
        else:
            original(body, message, *((error,) if error else ()))

    return on_message


def _guarded(process: Callable[[Any], Any], free_slot: Callable[[Any], None]) -> Any:
    """Return *process*, which gives a request to the pool, for requests of all kinds."""

    def give(request: Any) -> Any:
        try:
            _validate(request)
            return process(request)
        except Exception as error:
            # Kombu counts KeyError as a connection error.
            if isinstance(error, request.connection_errors) and not isinstance(error, KeyError):
                raise
            if not move_to_unreadable(request.message, f"it cannot be run: {_named(error)}"):
                raise
            logger.debug("%s cannot be run", request.id, exc_info=error)
            request.acknowledged = True
            state.task_ready(request)
            free_slot(request)

    return give


def _validate(request: Any) -> None:
    """
    Reject what the pool would accept, only to fail later.

    Raises:
        ValueError: With the invalid field.
    """
    limits = request.time_limits
    if limits not in _NO_LIMITS:
        if not isinstance(limits, list | tuple) or len(limits) != len(_NO_LIMITS[0]):
            raise ValueError(f"timelimit {limits!r} is not two numbers of seconds")
        if not all(map(_is_limit, limits)):
            raise ValueError(f"timelimit {limits!r} is not two numbers of seconds")
    if not isinstance(request.kwargs, dict):
        raise ValueError(f"keyword arguments {request.kwargs!r} are no object")
    embedded = getattr(request, "_Request__payload", (None,))[-1]
    if embedded is not None and not isinstance(embedded, dict):
        raise ValueError(f"callbacks {embedded!r} are no object")
    if not isinstance(request.name, str):
        raise ValueError(f"shadow {request.name!r} is not a text")
    if not isinstance(request.id, str | int):
        raise ValueError(f"id {request.id!r} is not a text")


def _is_limit(value: Any) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST_SECONDS
    )


def _no_slot(request: Any) -> None:
    """Free nothing: a greenlet that was not spawned has no slot."""


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
