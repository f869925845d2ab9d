"""
A task that is put aside has failed: its result says so, and nobody waits for it for ever.

Celery stores the failure of a task whose process was lost only when the task
does not run again. The transport decides that here, and whoever finds the last
death stores what Celery would have: the result, the failure of the rest of a
chain or chord, the errbacks, the signal `task_failure`. It may not register the
task, nor be able to decode the message; what it knows it tells all the same.
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

    def fail(channel: Any, one: DeadLetter) -> None:
        before = _open_databases()
        try:
            _fail(app, _context(app, channel, one), one)
        except Exception:
            # It is aside, and said so; a worker does not end over its result.
            logger.exception("the failure of %s[%s] could not be stored", one.task, one.id)
        finally:
            # No task's end closes what the result backend has opened.
            for connection in _open_databases():
                if connection not in before:
                    _close(connection)

    return fail


def _fail(app: Any, context: Any, one: Any) -> None:
    """Tell whoever waits for the task of *context*, a dead letter *one*, that it has failed."""
    lost = WorkerLostError(
        f"{len(one.crashes)} workers died while they ran it; it is put aside, "
        "see `task-server dead list`"
    )
    task = app.tasks.get(one.task)
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
        # The receivers of the signal are given a task.
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


def _context(app: Any, channel: Any, one: Any) -> Context:
    """Return what Celery's request of the message would say, as far as it can be read."""
    payload = json.loads(one.text)
    headers, properties = _object(payload.get("headers")), _object(payload.get("properties"))
    found: dict[str, Any] = {**headers, "id": headers.get("id") or one.id or None}
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
            "the message of %s[%s] cannot be decoded (%s): its result says that it has failed; its "
            "errbacks, and who waits for a chain or a chord with it, are not told",
            *(one.task, one.id, type(error).__name__),
        )
    found.setdefault("ignore_result", None)
    found |= {
        "properties": properties,
        "reply_to": properties.get("reply_to"),
        "correlation_id": properties.get("correlation_id") or found["id"],
        "delivery_info": _object(properties.get("delivery_info")),
        "task": one.task,
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
    except Exception:  # noqa: BLE001 - something imported Django, and nobody configured it
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
