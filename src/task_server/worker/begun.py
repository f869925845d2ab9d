"""
Messages that a worker may have died of: Redis hears of their begin before their tasks run.

Of all others the atomic transport tells from time to time, see its `begun`.
"""

from dataclasses import dataclass
from typing import Any


@dataclass
class Marked:
    """
    A marked message whose task was given to the pool.

    Attributes:
        request: Celery's.

        qos: Of the channel that the message came by.

        run: Whether its greenlet has begun.

        told: Whether Redis was told.
    """

    request: Any
    qos: Any
    run: bool = False
    told: bool = False

    @property
    def tag(self) -> str:
        """The delivery tag of the message."""
        return str(self.request.message.delivery_tag)


def tell_in_greenlets(pool: Any) -> None:
    """
    Let the greenlets of *pool* tell, just before they run the task.

    Those that were given to the pool in a row begin in a row: the first of them
    tells of all. What waits for its turn in a full pool is not among them.
    """
    due: list[Marked] = []

    def about_to_run(one: Marked) -> None:
        one.run = True
        if one.told or one.request.acknowledged:
            return
        row = [one, *(each for each in due if each.qos is one.qos and not each.run)]
        due.clear()
        for each in row:
            each.told = True
        one.qos.begin(*(each.tag for each in row))

    apply_async = pool.apply_async

    def apply(*args: Any, accept_callback: Any = None, **kwargs: Any) -> Any:
        one = marked(accept_callback)
        if one is None:
            return apply_async(*args, accept_callback=accept_callback, **kwargs)

        def accepted(*details: Any) -> None:
            accept_callback(*details)
            about_to_run(one)

        result = apply_async(*args, accept_callback=accepted, **kwargs)
        # One that acknowledges early does so when it begins, and tells nothing.
        if not one.run and one.request.task.acks_late:
            due.append(one)
        return result

    pool.apply_async = apply


def tell_before_children(pool: Any) -> None:
    """
    Tell before a task is given to *pool*, the main process of prefork.

    What a child has begun it hears later, and maybe never if it is killed.
    """
    apply_async = pool.apply_async

    def apply(*args: Any, accept_callback: Any = None, **kwargs: Any) -> Any:
        one = marked(accept_callback)
        if one is not None:
            one.qos.begin(one.tag)
        return apply_async(*args, accept_callback=accept_callback, **kwargs)

    pool.apply_async = apply


def marked(accept: Any) -> Marked | None:
    """Return the request whose method *accept* is, if its message is marked and unacknowledged."""
    request = getattr(accept, "__self__", None)
    message = getattr(request, "message", None)
    if request is None or message is None or request.acknowledged:
        return None
    qos = getattr(message.channel, "qos", None)
    if hasattr(qos, "begin") and "deaths" in (message._raw or ()):  # noqa: SLF001 - Kombu's message
        return Marked(request, qos)
    return None
