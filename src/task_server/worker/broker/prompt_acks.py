"""
Acknowledges and requeues when a task under gevent ends, as Celery does from 5.7 on.

Up to 5.6 Celery's own loop does it in its next turn. While the pool is full there is none:
the loop waits for a free place, and what has ended since is not acknowledged, for as long as
the others run. A worker that was killed ran all of it again. One whose connection was lost
requeued it, for its tasks did not run any more, and another worker ran it again.
"""

import logging
from collections.abc import Callable
from typing import Any

from task_server.worker.patching import patch

logger = logging.getLogger(__name__)

#: Methods of Kombu's messages that the end of a task calls.
_ENDS = frozenset({"ack_log_error", "reject_log_error"})


def install(consumer: Any) -> None:
    """Let *consumer*, which has no event loop, call the methods of a message at once."""
    call_soon = consumer.call_soon

    def call_now(called: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if getattr(called, "__name__", "") not in _ENDS:
            return call_soon(called, *args, **kwargs)
        try:
            called(*args, **kwargs)
        except Exception:
            # As the loop does: whatever it is, the greenlet goes on.
            logger.exception("the message of a task that has ended could not be settled")
        return called

    patch(consumer, "call_soon", call_now)
