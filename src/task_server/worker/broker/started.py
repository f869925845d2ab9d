"""
Reports to Redis which tasks start, before they run: one of them may crash the worker.

The transport decides what is reported when. Here a request passes through either
pool: it may be deferred (see `quarantine`), its start is reported, it runs, its end
is reported.
"""

from collections.abc import Callable
from typing import Any

from task_server.worker.broker.quarantine import Quarantine
from task_server.worker.patching import patch


def request_of(accept: Any) -> Any | None:
    """Return the request whose method *accept* is, if its transport reports; else None."""
    request = getattr(accept, "__self__", None)
    message = getattr(request, "message", None)
    if message is None or not hasattr(getattr(message.channel, "qos", None), "reporter"):
        return None
    return request


def is_seen_before(request: Any) -> bool:
    """
    Return whether the message of *request* was with a worker that crashed.

    A message that is acknowledged before its task runs is not redelivered.
    """
    raw = request.message._raw or ()  # noqa: SLF001 - Kombu's message
    return "deaths" in raw and bool(request.task.acks_late) and not request.acknowledged


def report_in_greenlets(pool: Any, quarantine: Quarantine) -> None:
    """Let the greenlets of *pool* report just before they run the task, and after it."""
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
        reporter = request.message.channel.qos.reporter
        tag = str(request.message.delivery_tag)
        seen_before = is_seen_before(request)
        reported = reporter.reported

        def reporting(*args: Any, **options: Any) -> Any:
            if not (seen_before or reported.marked):
                try:
                    return target(*args, **options)
                finally:
                    # Reported meanwhile, because a suspect has started.
                    if tag in reported.started:
                        reporter.end(tag)
            reporter.start(tag, marked=seen_before, on_cpu=True)
            processor.enter(reporter, tag)
            try:
                return target(*args, **options)
            finally:
                processor.leave()
                reporter.end(tag)

        return apply_async(reporting, *args, accept_callback=accept_callback, **options)

    patch(pool, "apply_async", apply)


def report_before_children(pool: Any, quarantine: Quarantine) -> None:
    """
    Report before a task is given to *pool*, in the main process of prefork.

    The main process learns later what a child has started, and never if it is killed.
    A child that dies identifies its message; this is for the main process.
    """
    apply_async = pool.apply_async

    def apply(*args: Any, accept_callback: Any = None, **options: Any) -> Any:
        request = request_of(accept_callback)
        if request is not None:
            if quarantine.defers(request):
                return None
            reporter, seen_before = request.message.channel.qos.reporter, is_seen_before(request)
            if seen_before or reporter.reported.marked:
                tag = str(request.message.delivery_tag)
                for name in ("callback", "error_callback"):
                    if options.get(name) is not None:
                        options[name] = _ReportingEnd(options[name], reporter, tag)
                reporter.start(tag, marked=seen_before)
        return apply_async(*args, accept_callback=accept_callback, **options)

    patch(pool, "apply_async", apply)


class _ReportingEnd:
    """Calls *callback*, a method of a request, after reporting that its task has ended."""

    def __init__(self, callback: Callable[..., Any], reporter: Any, tag: str) -> None:
        # Like a method: the pool's jobs are identified by it.
        self.__self__ = getattr(callback, "__self__", None)
        self._callback = callback
        self._reporter = reporter
        self._tag = tag

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._reporter.end(self._tag)
        return self._callback(*args, **options)
