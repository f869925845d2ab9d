"""
Puts messages back to their queues.

A received message is in the hash `unacked` until it is acknowledged. If the worker
exits before, the message stays there for the visibility timeout, an hour or more,
unless the worker requeues it.
"""

import logging
from collections.abc import Iterable
from typing import Any

from kombu.transport.virtual import QoS

logger = logging.getLogger(__name__)


def requeue_requests(requests: Iterable[Any], errors: tuple[type[Exception], ...]) -> list[Any]:
    """
    Put the messages of *requests* back at the front of their queues, the oldest first.

    A requeued request is never acknowledged, even if its task still ends.

    Args:
        requests: Oldest first.

        errors: What the transport raises when Redis does not answer. After the
            first error the rest stays in `unacked`, where other workers find it
            after the visibility timeout.

    Returns:
        The requests that are back in their queues.
    """
    back: list[Any] = []
    going = [request for request in requests if not request.acknowledged]
    for request in going:
        # Before anything waits, so that nothing acknowledges what is being requeued.
        request.acknowledged = True
    # Push in reverse, so that the oldest ends up first.
    for request in reversed(going):
        try:
            requeue(request.message)
        except errors as error:
            logger.warning(
                "Redis does not answer (%s): %s[%s] and the rest stay registered as unacked; "
                "they are redelivered when their lease expires",
                error,
                request.name,
                request.id,
            )
            break
        back.append(request)
    return back


def requeue(message: Any) -> None:
    """
    Put *message* back at the front of its queue.

    Raises:
        ConnectionError: Or another of the transport's, when Redis does not answer.
    """
    if message.acknowledged:
        return
    qos = message.channel.qos
    # The atomic transport puts back what it fetched, without Kombu's mark.
    restore = getattr(qos, "requeue_unchanged", None) or getattr(qos, "restore_by_tag", None)
    if restore is None:
        message.requeue()
        return
    # message.requeue() puts it at the end: a task whose turn it was would wait
    # for the whole queue again.
    restore(message.delivery_tag)
    QoS.ack(qos, message.delivery_tag)
    message._state = "REQUEUED"  # noqa: SLF001 - what message.requeue() sets
