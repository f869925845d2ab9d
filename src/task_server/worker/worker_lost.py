"""
Tasks that take their process with them: the out-of-memory killer, a crash in C.

With `task_reject_on_worker_lost` Celery puts the message back to its queue, each
time and for ever. Which rejection is such a one only the worker knows; the
transport counts it, and puts the message aside when there are too many.
"""

from typing import Any

from billiard import einfo as billiard_einfo
from celery.exceptions import WorkerLostError
from celery.worker import request as celery_request

from task_server.worker.patches import patch

einfo: Any = billiard_einfo

#: What Celery takes for a lost process; it asks once more, and says so then.
LOST = (WorkerLostError, SystemExit, KeyboardInterrupt)


def install() -> None:
    """Let each request tell its transport when its process was lost."""
    request: Any = celery_request.Request
    on_failure = request.on_failure

    def told(self: Any, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        error = error_of(exc_info)
        qos = getattr(self.message.channel, "qos", None)
        lost = getattr(qos, "lost", None)
        if lost is not None and isinstance(error, LOST):
            # Celery rejects in the next turn of its loop; what is rejected, or
            # acknowledged after all, is forgotten there.
            lost.add(self.message.delivery_tag)
        return on_failure(self, exc_info, *args, **kwargs)

    patch(request, "on_failure", told)


def error_of(exc_info: Any) -> Any:
    """Return the error of *exc_info*, as a child of the pool has sent it."""
    error = exc_info.exception
    return error.exc if isinstance(error, einfo.ExceptionWithTraceback) else error
