"""
Reports to Redis which tasks start, before they run: one of them may crash the worker.

The transport decides what is reported when. Here a request passes through either
pool: it may be deferred (see `quarantine`), its start is reported, it runs, its end
is reported.
"""

from collections.abc import Callable
from typing import Any

from task_server.worker.broker.quarantine import Quarantine
from task_server.worker.patches import patch


def request_of(accept: Any) -> Any | None:
    """Return the request whose method *accept* is, if its transport tells; else None."""
    request = getattr(accept, "__self__", None)
    message = getattr(request, "message", None)
    if message is None or not hasattr(getattr(message.channel, "qos", None), "reporter"):
        return None
    return request


def is_marked(request: Any) -> bool:
    """
    Return whether a worker that held the message of *request* has died before.

    One that is acknowledged before its task runs does not come back.
    """
    raw = request.message._raw or ()  # noqa: SLF001 - Kombu's message
    return "deaths" in raw and bool(request.task.acks_late) and not request.acknowledged


def report_in_greenlets(pool: Any, quarantine: Quarantine) -> None:
    """Let the greenlets of *pool* tell, just before they run the task, and after it."""
    # gevent is there where it is the pool, and nowhere else.
    from task_server.worker.broker.processor import Processor  # noqa: PLC0415

    processor = Processor()
    apply_async = pool.apply_async

    def apply(
        target: Callable[..., Any], *args: Any, accept_callback: Any = None, **options: Any
    ) -> Any:
        request = request_of(accept_callback)
        if request is None:
            return apply_async(target, *args, accept_callback=accept_callback, **options)
        if quarantine.defers(request):
            return None
        telling = request.message.channel.qos.reporter
        tag = str(request.message.delivery_tag)
        marked = is_marked(request)
        told = telling.reported

        def tells(*args: Any, **options: Any) -> Any:
            if not (marked or told.marked):
                try:
                    return target(*args, **options)
                finally:
                    # Told of meanwhile, because a marked one has begun.
                    if tag in told.started:
                        telling.end(tag)
            telling.start(tag, marked=marked, on_cpu=True)
            processor.enter(telling, tag)
            try:
                return target(*args, **options)
            finally:
                processor.leave()
                telling.end(tag)

        return apply_async(tells, *args, accept_callback=accept_callback, **options)

    patch(pool, "apply_async", apply)


def report_before_children(pool: Any, quarantine: Quarantine) -> None:
    """
    Tell before a task is given to *pool*, the main process of prefork.

    What a child has begun it hears later, and maybe never if it is killed. A
    child that dies names its message by itself; this is for the main process.
    """
    apply_async = pool.apply_async

    def apply(*args: Any, accept_callback: Any = None, **options: Any) -> Any:
        request = request_of(accept_callback)
        if request is not None:
            if quarantine.defers(request):
                return None
            telling, marked = request.message.channel.qos.reporter, is_marked(request)
            if marked or telling.reported.marked:
                tag = str(request.message.delivery_tag)
                for name in ("callback", "error_callback"):
                    if options.get(name) is not None:
                        options[name] = _AndEnd(options[name], telling, tag)
                telling.start(tag, marked=marked)
        return apply_async(*args, accept_callback=accept_callback, **options)

    patch(pool, "apply_async", apply)


class _AndEnd:
    """What calls *callback*, a method of a request, and tells before that its task has ended."""

    def __init__(self, callback: Callable[..., Any], telling: Any, tag: str) -> None:
        # As of a method: by this the pool's jobs are known.
        self.__self__ = getattr(callback, "__self__", None)
        self._callback = callback
        self._telling = telling
        self._tag = tag

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._telling.end(self._tag)
        return self._callback(*args, **options)
