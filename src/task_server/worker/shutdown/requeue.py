"""
Messages that this worker has taken, and the way back to their queue.

A message that is taken lies in the hash `unacked` until it is acknowledged. If
the worker ends before, it lies there for the visibility timeout, an hour or
more, unless the worker puts it back.
"""

import logging
from collections.abc import Iterable
from typing import Any

from kombu.transport.virtual import QoS

logger = logging.getLogger(__name__)


def give_back(requests: Iterable[Any], errors: tuple[type[Exception], ...]) -> list[Any]:
    """
    Put the messages of *requests* back at the front of their queues, the oldest first in line.

    A request that is given back is never acknowledged, whatever becomes of it.

    Args:
        requests: Oldest first.

        errors: What the transport raises when Redis does not answer. After the
            first the rest is left in `unacked`, from where other workers take
            it when the visibility timeout is over.

    Returns:
        The requests that are back in their queues.
    """
    back: list[Any] = []
    going = [request for request in requests if not request.acknowledged]
    for request in going:
        # Before the first wait, so that nothing acknowledges what is on its way.
        request.acknowledged = True
    # The last that is put to the front is the first in line.
    for request in reversed(going):
        try:
            requeue(request.message)
        except errors as error:
            logger.warning(
                "Redis does not answer (%s): %s[%s] and the rest stay registered as unacked; "
                "they are delivered again when nobody renews their lease any more",
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
    # message.requeue() puts it at the end, behind all that came later; a task
    # whose turn it was would wait for the whole queue once more.
    restore(message.delivery_tag)
    QoS.ack(qos, message.delivery_tag)
    message._state = "REQUEUED"  # noqa: SLF001 - what message.requeue() sets
