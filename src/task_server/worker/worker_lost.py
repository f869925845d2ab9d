"""
Tasks that kill their process: the out-of-memory killer, a crash in C.

With `task_reject_on_worker_lost` Celery requeues the message without end. Only the
worker knows which rejections are such; the transport counts them, and after too
many the message becomes a dead letter.
"""

from collections.abc import Callable
from typing import Any

from billiard import einfo as billiard_einfo
from celery.exceptions import WorkerLostError
from celery.worker import request as celery_request

from task_server.worker.patching import patch

einfo: Any = billiard_einfo

#: What Celery takes for a lost process.
LOST = (WorkerLostError, SystemExit, KeyboardInterrupt)


def install(on_lost: Callable[[Any], None]) -> None:
    """
    Report to the transport when the process of a request was lost.

    Args:
        on_lost: Gets the request first, before Celery decides whether it has succeeded.
    """
    request: Any = celery_request.Request
    on_failure = request.on_failure

    def on_failure_with_loss(self: Any, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        error = error_of(exc_info)
        qos = getattr(self.message.channel, "qos", None)
        lost = getattr(qos, "lost", None)
        if isinstance(error, LOST):
            on_lost(self)
            if lost is not None:
                # Celery rejects it in the next turn of its loop; the transport removes
                # what is rejected or acknowledged.
                lost.add(self.message.delivery_tag)
        return on_failure(self, exc_info, *args, **kwargs)

    patch(request, "on_failure", on_failure_with_loss)


def error_of(exc_info: Any) -> Any:
    """Return the error of *exc_info*, as a child of the pool has sent it."""
    error = exc_info.exception
    return error.exc if isinstance(error, einfo.ExceptionWithTraceback) else error
