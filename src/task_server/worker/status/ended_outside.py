"""
Tasks that did not end by themselves, and have failed: by their time limit, or with their process.

Nothing in the process where they ran can add these up. A message that is delivered again has not
failed.
"""

import os
from typing import Any

from celery import signals
from celery.exceptions import WorkerLostError
from celery.worker import request as celery_request
from celery.worker import state

from task_server.worker.patching import patch
from task_server.worker.status.finished import Finished


def install(finished: Finished) -> None:
    """Add them to *finished*."""
    main = os.getpid()
    # The signal task_failure is sent for these by Celery 5.7 only.
    on_timeout = celery_request.Request.on_timeout

    def timed_out(self: Any, soft: Any, timeout: Any) -> Any:
        if not soft and not state.should_terminate:
            finished.add(self.task, self, "failed", timeout)
        return on_timeout(self, soft, timeout)

    patch(celery_request.Request, "on_timeout", timed_out)

    # Only Celery 5.7 says with the signal which request it is of.
    on_failure = celery_request.Request.on_failure
    failing: dict[str, Any] = {}

    def fails(self: Any, *args: Any, **kwargs: Any) -> Any:
        failing[self.id] = self
        try:
            return on_failure(self, *args, **kwargs)
        finally:
            failing.pop(self.id, None)

    patch(celery_request.Request, "on_failure", fails)

    def failed(sender: Any, task_id: Any, exception: Any, **_: Any) -> None:
        # Of a child that was lost, and of a dead letter.
        if isinstance(exception, WorkerLostError) and os.getpid() == main:
            finished.add(sender, failing.get(task_id) or sender.request, "failed", None)

    signals.task_failure.connect(failed, weak=False)
