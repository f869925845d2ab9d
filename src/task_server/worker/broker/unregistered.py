"""
A task that no code of this worker registers is no failure: another worker may register it.

Celery answers its message with the failure NotRegistered, and drops it: a worker
of an older release, or of another project, consumes what is meant for others.
Here the message becomes a dead letter; its result stays PENDING, and a worker of
its queue that registers the task gets it (see the transport's `unregistered`).
With Kombu's transport, which has no place for it, all is as in Celery.
"""

import logging
from time import monotonic
from typing import Any

from celery import signals

from task_server.transport.store.excerpt import excerpt
from task_server.worker.patches import patch

logger = logging.getLogger(__name__)

#: Seconds after which the same task is named in the log once more.
SAY_AGAIN = 600.0

#: Tasks whose names are remembered; anybody can invent more.
MOST_NAMES = 1000


def install_in_consumer(consumer: Any) -> None:
    """Let *consumer*, which does not consume yet, put aside what it does not register."""
    said: dict[str, float] = {}
    on_unknown_task = consumer.on_unknown_task

    def unknown(body: Any, message: Any, error: Any) -> None:
        put_aside = getattr(getattr(message.channel, "qos", None), "refuse_unregistered", None)
        if put_aside is None:
            on_unknown_task(body, message, error)
            return
        name, id_ = _named(message)
        if not message.acknowledged:
            put_aside(message.delivery_tag, name, id_)
            message._state = "REJECTED"  # noqa: SLF001 - what message.reject() sets
        _say(name, id_, said)
        signals.task_unknown.send(sender=consumer, message=message, exc=error, name=name, id=id_)

    patch(consumer, "on_unknown_task", unknown)


def _named(message: Any) -> tuple[str, str]:
    """Return task and id of *message*; of protocol 1 they stand in the body, decoded by now."""
    found = message.headers if "task" in message.headers else message.payload
    return str(found["task"]), str(found.get("id") or "")


def _say(name: str, id_: str, said: dict[str, float]) -> None:
    now = monotonic()
    if now - said.get(name, -SAY_AGAIN) < SAY_AGAIN or len(said) > MOST_NAMES:
        logger.debug("%s[%s] is not registered either", excerpt(name), excerpt(id_))
        return
    said[name] = now
    logger.error(
        "no code of this worker registers the task %s: its messages, %s is the first, wait as dead "
        "letters until a worker of their queue does; see `task-server dead list`",
        *(excerpt(name), excerpt(id_)),
    )
