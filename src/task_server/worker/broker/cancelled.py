"""
Tasks that Celery cancels because the connection is lost: given back, once they have ended.

With `worker_cancel_long_running_tasks_on_connection_loss` Celery ends the tasks
that it cannot acknowledge, and leaves it to the broker to deliver them again.
Redis does that after the visibility timeout; and a greenlet that is killed Celery
takes for a success, whose message is acknowledged through the next connection: no
queue has it any more. Here the message goes back to its queue through that
connection, when nothing of its task runs any more. One that ends by itself, in
the moment before it hears of it, has run.
"""

from typing import Any

from celery.exceptions import Ignore, Reject, Retry
from celery.worker import request as celery_request

from task_server.worker.broker.reconnect import Debts
from task_server.worker.patches import patch
from task_server.worker.worker_lost import error_of

#: What a task has decided before it heard of it; all else it may have made of its end.
DECIDED = (Ignore, Reject, Retry)


def install(debts: Debts, tasks: Any) -> None:
    """
    Let each request that is cancelled go back, through *debts*.

    Args:
        tasks: Returns the pool's tasks; those of the pool gevent have `cancel`.
    """
    request: Any = celery_request.Request
    cancel, on_failure = request.cancel, request.on_failure

    def cancelled(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.acknowledged:
            self.goes_back = True
            expect = getattr(tasks(), "cancel", None)
            if expect is not None:
                expect(self, debts.give_back)
        return cancel(self, *args, **kwargs)

    def failed(self: Any, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        # Also if Celery could not announce it, and so does not know of it.
        if getattr(self, "goes_back", False) and not isinstance(error_of(exc_info), DECIDED):
            if not self.acknowledged:
                debts.give_back(self)
            return None
        return on_failure(self, exc_info, *args, **kwargs)

    patch(request, "cancel", cancelled)
    patch(request, "on_failure", failed)
