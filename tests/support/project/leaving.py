"""A project whose tasks end otherwise than by returning; as `proj`, it knows of no task-server."""

import builtins
import sys
import threading
import time

import gevent
from celery import Celery, Task
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import task_failure
from proj import ended, note, started

app = Celery("leaving")


class Noting(Task):
    """A task that says that it failed."""

    abstract = True

    def on_failure(self, exc, _task_id, args, *_rest):
        """Leave a line."""
        note(f"hook {args[0]} {type(exc).__name__}")


@task_failure.connect
def failed(args: tuple, exception: BaseException, **_: object) -> None:
    """Leave a line."""
    note(f"signal {args[0]} {type(exception).__name__}")


@app.task(base=Noting)
def leave(number: int, how: str) -> None:
    """Raise the exception *how*."""
    started(number)
    if how == "gevent.Timeout":
        raise gevent.Timeout(5)
    raise getattr(builtins, how)(number)


@app.task
def beside(number: int) -> None:
    """Have a greenlet and a thread end by sys.exit."""
    started(number)
    gevent.spawn(sys.exit, 1).join()
    thread = threading.Thread(target=sys.exit, args=(1,))
    thread.start()
    thread.join()
    ended(number)


@app.task
def nothing(number: int) -> int:
    """Return *number*."""
    started(number)
    ended(number)
    return number


@app.task
def linger(number: int, seconds: float) -> str:
    """Wait for *seconds*, or say at the soft limit what came."""
    started(number)
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        note(f"soft {number}")
        return "in time"
    ended(number)
    return "done"


@app.task(soft_time_limit=1)
def limited(number: int, seconds: float) -> None:
    """As `linger`, with a limit of its own."""
    linger.run(number, seconds)


@app.task
def oblivious(number: int, seconds: float) -> None:
    """Wait for *seconds*, and know of no limit."""
    started(number)
    time.sleep(seconds)


@app.task
def overrun(number: int, seconds: float) -> None:
    """Wait, and go on after the soft limit as long as it may."""
    linger.run(number, seconds)
    time.sleep(seconds)
    ended(number)


@app.task
def busy(number: int, seconds: float) -> str:
    """Compute for *seconds* without a switch, then wait."""
    started(number)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "late"
    return "never"
