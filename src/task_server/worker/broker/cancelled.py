"""
Requeues tasks that Celery cancels because the connection is lost, once they have ended.

With `worker_cancel_long_running_tasks_on_connection_loss` Celery ends the tasks
that it cannot acknowledge, and leaves their redelivery to the broker. Redis
redelivers after the visibility timeout; and a killed greenlet is a success to
Celery, whose message is acknowledged through the next connection and lost. Here
the message is requeued through that connection, once its task has ended. A task
that ends just before it is cancelled has run.
"""

from typing import Any

from celery.exceptions import Ignore, Reject, Retry
from celery.worker import request as celery_request

from task_server.worker.broker.reconnect import PendingAcks
from task_server.worker.patching import patch
from task_server.worker.worker_lost import error_of

#: What a task decided before it was cancelled; any other error may come of that.
DECIDED = (Ignore, Reject, Retry)


def install(pending_acks: PendingAcks, tasks: Any) -> None:
    """
    Requeue each request that is cancelled, through *pending_acks*.

    Args:
        tasks: Returns the pool's tasks; those of the pool gevent have `cancel`.
    """
    request: Any = celery_request.Request
    cancel, on_failure = request.cancel, request.on_failure

    def cancelled(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.acknowledged:
            self.is_requeued = True
            expect = getattr(tasks(), "cancel", None)
            if expect is not None:
                expect(self, pending_acks.requeue)
        return cancel(self, *args, **kwargs)

    def failed(self: Any, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        # Also if Celery failed to announce the cancellation, and does not know of it.
        if getattr(self, "is_requeued", False) and not isinstance(error_of(exc_info), DECIDED):
            if not self.acknowledged:
                pending_acks.requeue(self)
            return None
        return on_failure(self, exc_info, *args, **kwargs)

    patch(request, "cancel", cancelled)
    patch(request, "on_failure", failed)
