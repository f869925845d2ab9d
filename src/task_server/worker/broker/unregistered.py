"""
A task that this worker does not register is no failure: another worker may register it.

Celery stores the failure NotRegistered and drops the message: a worker of an older
release, or of another project, consumes messages meant for others.
Here the message becomes a dead letter; its result stays PENDING, and a worker of
its queue that registers the task gets it (see the transport's `unregistered`).
With Kombu's transport, which has no dead letters, it is as in Celery.
"""

import logging
from time import monotonic
from typing import Any

from celery import signals

from task_server.transport.store.excerpt import excerpt
from task_server.worker.patching import patch

logger = logging.getLogger(__name__)

#: Seconds after which the same task is logged again.
LOG_AGAIN = 600.0

#: Names of tasks that are remembered; anyone can invent more.
MAX_NAMES = 1000


def install_in_consumer(consumer: Any) -> None:
    """Let *consumer*, which does not consume yet, dead-letter tasks it does not register."""
    logged: dict[str, float] = {}
    on_unknown_task = consumer.on_unknown_task

    def unknown(body: Any, message: Any, error: Any) -> None:
        dead_letter = getattr(getattr(message.channel, "qos", None), "refuse_unregistered", None)
        if dead_letter is None:
            on_unknown_task(body, message, error)
            return
        name, id_ = _named(message)
        if not message.acknowledged:
            dead_letter(message.delivery_tag, name, id_)
            message._state = "REJECTED"  # noqa: SLF001 - what message.reject() sets
        _log(name, id_, logged)
        signals.task_unknown.send(sender=consumer, message=message, exc=error, name=name, id=id_)

    patch(consumer, "on_unknown_task", unknown)


def _named(message: Any) -> tuple[str, str]:
    """Return task and id of *message*; in protocol 1 they are in the body, decoded by now."""
    found = message.headers if "task" in message.headers else message.payload
    return str(found["task"]), str(found.get("id") or "")


def _log(name: str, id_: str, logged: dict[str, float]) -> None:
    now = monotonic()
    if now - logged.get(name, -LOG_AGAIN) < LOG_AGAIN or len(logged) > MAX_NAMES:
        logger.debug("%s[%s] is not registered either", excerpt(name), excerpt(id_))
        return
    logged[name] = now
    logger.error(
        "this worker does not register the task %s: its messages, %s first, wait as dead letters "
        "until a worker of their queue does; see `task-server dead list`",
        *(excerpt(name), excerpt(id_)),
    )
