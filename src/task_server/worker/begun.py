"""
Messages that a worker may have died of: Redis hears of their begin before their tasks run.

Of all others the atomic transport tells from time to time, see its `begun`.
"""

from collections.abc import Callable
from typing import Any


def tell_in_greenlets(pool: Any) -> None:
    """Let the greenlets of *pool* tell, just before they run the task."""

    def wrap(accept: Callable[..., Any]) -> Callable[..., Any]:
        def accepted(*args: Any) -> None:
            accept(*args)
            _tell(accept)

        return accepted

    _wrap(pool, wrap)


def tell_before_children(pool: Any) -> None:
    """
    Tell before a task is given to *pool*, the main process of prefork.

    What a child has begun it hears later, and maybe never if it is killed.
    """

    def wrap(accept: Callable[..., Any]) -> Callable[..., Any]:
        _tell(accept)
        return accept

    _wrap(pool, wrap)


def _wrap(pool: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    apply_async = pool.apply_async

    def apply(*args: Any, accept_callback: Any = None, **kwargs: Any) -> Any:
        if accept_callback is not None:
            accept_callback = wrap(accept_callback)
        return apply_async(*args, accept_callback=accept_callback, **kwargs)

    pool.apply_async = apply


def _tell(accept: Any) -> None:
    """Tell of the request whose method *accept* is, if it is not acknowledged already."""
    request = getattr(accept, "__self__", None)
    message = getattr(request, "message", None)
    if request is None or message is None or request.acknowledged:
        return
    begin = getattr(getattr(message.channel, "qos", None), "begin", None)
    if begin is not None and "deaths" in (message._raw or ()):  # noqa: SLF001 - Kombu's message
        begin(message.delivery_tag)
