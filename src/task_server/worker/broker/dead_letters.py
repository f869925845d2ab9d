"""
A task whose message becomes a dead letter has failed: its result is stored.

Celery stores the failure of a task whose process was lost only when the task does
not run again. Here the transport decides that, and the worker that finds the last
crash stores what Celery would: the result, the failure of the rest of a chain or
chord, the errbacks, the signal `task_failure`. That worker may not register the
task or be able to decode the message; it stores what it knows.
"""

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import signals
from celery.app.task import Context
from celery.exceptions import WorkerLostError
from celery.worker import strategy
from kombu.serialization import prepare_accept_content

from task_server.transport.store.dead_letters import DeadLetter

logger = logging.getLogger(__name__)


def failing(app: Any) -> Callable[[Any, DeadLetter], None]:
    """Return what stores the failure of the task of *app* whose message became a dead letter."""

    def fail(channel: Any, letter: DeadLetter) -> None:
        before = _open_databases()
        try:
            _fail(app, _context(app, channel, letter), letter)
        except Exception:
            # It is a dead letter, and logged; its result must not end the worker.
            logger.exception("the failure of %s[%s] could not be stored", letter.task, letter.id)
        finally:
            # No task closes the connections that the result backend opened.
            for connection in _open_databases():
                if connection not in before:
                    _close(connection)

    return fail


def _fail(app: Any, context: Any, letter: Any) -> None:
    """Store the failure of the task of *context*, whose message is the dead letter *letter*."""
    lost = WorkerLostError(
        f"{len(letter.crashes)} workers crashed while they ran it; it is a dead letter, "
        "see `task-server dead list`"
    )
    task = app.tasks.get(letter.task)
    ignored = context.ignore_result
    if ignored is None:
        ignored = app.conf.task_ignore_result if task is None else task.ignore_result
    even_so = app.conf.task_store_errors_even_if_ignored
    backend = app.backend if task is None else task.backend
    if context.id:
        backend.mark_as_failure(
            context.id,
            lost,
            request=context,
            store_result=not ignored
            or (even_so if task is None else task.store_errors_even_if_ignored),
        )
    if task is None:
        # The signal needs a task as its sender.
        return
    info = _described(lost)
    task.request_stack.push(context)
    try:
        signals.task_failure.send(
            sender=task,
            task_id=context.id,
            exception=lost,
            args=context.args,
            kwargs=context.kwargs,
            traceback=info.traceback,
            einfo=info,
        )
    finally:
        task.request_stack.pop()


def _context(app: Any, channel: Any, letter: Any) -> Context:
    """Return the context that Celery's request of the message would have, if readable."""
    payload = json.loads(letter.text)
    headers, properties = _object(payload.get("headers")), _object(payload.get("properties"))
    found: dict[str, Any] = {**headers, "id": headers.get("id") or letter.id or None}
    try:
        message = channel.Message(
            payload, channel=channel, accept=prepare_accept_content(app.conf.accept_content)
        )
        body = message.payload
        if isinstance(body, dict):
            # Protocol 1, or a mixture of both, as in Celery's strategy.
            both: Any = strategy
            convert = both.hybrid_to_proto2 if "args" in body else both.proto1_to_proto2
            body, about, *_ = convert(message, body)
            found = {**about, "id": about.get("id") or found["id"]}
        args, kwargs, embedded = body
        found |= {"args": args, "kwargs": kwargs, **_object(embedded)}
    except Exception as error:  # noqa: BLE001 - whatever a body and its decoder can raise
        logger.warning(
            "the message of %s[%s] cannot be decoded (%s): only its own failure is stored; its "
            "errbacks are not called, and a chain or chord with it does not fail",
            *(letter.task, letter.id, type(error).__name__),
        )
    found.setdefault("ignore_result", None)
    found |= {
        "properties": properties,
        "reply_to": properties.get("reply_to"),
        "correlation_id": properties.get("correlation_id") or found["id"],
        "delivery_info": _object(properties.get("delivery_info")),
        "task": letter.task,
    }
    return Context(found)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _open_databases() -> list[Any]:
    """Return Django's connections of this thread, or greenlet, that are open."""
    database = sys.modules.get("django.db")
    if database is None:
        return []
    try:
        every = database.connections.all(initialized_only=True)
    except Exception:  # noqa: BLE001 - Django was imported, but never configured
        return []
    return [connection for connection in every if connection.connection is not None]


def _close(connection: Any) -> None:
    try:
        connection.close()
    except Exception:
        logger.debug("a connection of the result backend could not be closed", exc_info=True)


def _described(error: Exception) -> Any:
    """Return *error* as the receivers of `task_failure` get one, with a traceback."""
    try:
        raise error
    except type(error):
        return ExceptionInfo()
