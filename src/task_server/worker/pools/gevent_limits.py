"""
The time limits of a task in a greenlet.

At the soft limit SoftTimeLimitExceeded is raised where the task waits, and at
the hard limit a Timeout that ends it. A task that computes, or blocks outside
gevent, gets both only at its next switch.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self

import gevent
from celery.app import trace
from celery.exceptions import SoftTimeLimitExceeded

#: Parts of the file names of result backends.
BACKENDS = ("celery/backends/", "django_celery_results/")


class Limits(AbstractContextManager["Limits"]):
    """
    The limits, in seconds, of the greenlet that enters this; None means no limit.

    Args:
        on_soft_limit: Called in its own greenlet when the soft limit is exceeded.

    Attributes:
        over: The Timeout of the hard limit, which `is` what was raised then.
    """

    def __init__(
        self, soft: float | None, hard: float | None, on_soft_limit: Callable[[], None] | None
    ) -> None:
        self._soft = soft
        self._on_soft_limit = on_soft_limit
        self._timer: Any = None
        self._greenlet: Any = None
        self.over: Any = gevent.Timeout(hard) if hard else None

    def __enter__(self) -> Self:
        self._greenlet = gevent.getcurrent()
        if self._soft:
            self._timer = gevent.get_hub().loop.timer(self._soft)
            self._timer.start(self._expire)
        if self.over is not None:
            self.over.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A closed timer throws nothing, even if it is due.
        self._greenlet = None
        if self._timer is not None:
            self._timer.close()
        if self.over is not None:
            self.over.close()

    def _expire(self) -> None:
        greenlet = self._greenlet
        if greenlet is None or _has_returned(greenlet):
            return
        if self._on_soft_limit is not None:
            # It logs, and a handler may wait; the loop, which runs this, may not.
            gevent.spawn(self._on_soft_limit)
        greenlet.throw(SoftTimeLimitExceeded())


def pop_limits(options: dict[str, Any], pool: Any) -> tuple[float | None, float | None]:
    """
    Take the soft and the hard limit out of *options*, those of a call of *pool*.

    Celery's own gevent pool knows only the hard limit; *options* then have none.
    """
    soft = options.pop("soft_timeout", None)
    if soft is None:
        soft = pool.options.get("soft_timeout")
    hard = options.pop("timeout", None)
    if hard is None:
        hard = pool.timeout
    # None would mean the pool's own limit.
    options["timeout"] = 0
    return soft, hard


def _has_returned(greenlet: Any) -> bool:
    """Whether the task of *greenlet* has returned, and only its result is being stored."""
    frame, frames = greenlet.gr_frame, []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    # The outermost first: a task may run another one within itself.
    for outer, inner in zip(frames[:0:-1], frames[-2::-1], strict=True):
        code, called = outer.f_code, inner.f_code
        if (code.co_filename, code.co_name) != (trace.__file__, "trace_task"):
            continue
        if called.co_filename != trace.__file__:
            return any(part in str(called.co_filename) for part in BACKENDS)
        if called.co_name != "trace_task":
            # Otherwise its callbacks are being sent, or its failure reported.
            return bool(called.co_name != "__protected_call__")
    return False
