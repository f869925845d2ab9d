"""
A task that is put aside has failed: its result says so, and nobody waits for it for ever.

Celery stores the failure of a task whose process was lost only when the task
does not run again. The transport decides that here, and whoever finds the last
death stores what Celery would have: the result, the failure of the rest of a
chain or chord, the errbacks, the signal `task_failure`.
"""

import json
import logging
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import signals
from celery.exceptions import WorkerLostError
from celery.worker.request import Request
from kombu.serialization import prepare_accept_content

from task_server import transport

logger = logging.getLogger(__name__)


def install(app: Any) -> None:
    """Let the transport of this worker tell *app* what it puts aside."""
    if not transport.installed():
        return
    from task_server.transport.qos import QoS  # noqa: PLC0415 - Kombu's insides

    def fail(channel: Any, one: Any) -> None:
        try:
            _fail(app, channel, one)
        except Exception:
            # It is aside, and said so; a worker does not end over its result.
            logger.exception("the failure of %s[%s] could not be stored", one.task, one.id)

    atomic: Any = QoS
    atomic.put_aside = staticmethod(fail)


def _fail(app: Any, channel: Any, one: Any) -> None:
    message = channel.Message(
        json.loads(one.text),
        channel=channel,
        accept=prepare_accept_content(app.conf.accept_content),
    )
    request: Any = Request(message, app=app)
    lost = WorkerLostError(
        f"{len(one.deaths)} workers died while they ran it; it is put aside, "
        "see `task-server dead list`"
    )
    context = request._context  # noqa: SLF001 - as Celery's own requests do
    request.task.backend.mark_as_failure(
        request.id, lost, request=context, store_result=request.store_errors
    )
    info = _described(lost)
    request.task.request_stack.push(context)
    try:
        signals.task_failure.send(
            sender=request.task,
            task_id=request.id,
            exception=lost,
            args=request.args,
            kwargs=request.kwargs,
            traceback=info.traceback,
            einfo=info,
        )
    finally:
        request.task.request_stack.pop()


def _described(error: Exception) -> Any:
    """Return *error* as the receivers of `task_failure` get one, with a traceback."""
    try:
        raise error
    except type(error):
        return ExceptionInfo()
