"""A project whose tasks are parts of chords, groups and chains, with results in Redis."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from celery import Celery, chord, group

app = Celery("canvas")
app.conf.result_extended = True
app.conf.task_track_started = "CANVAS_TRACK" in os.environ
app.conf.result_backend_always_retry = "CANVAS_RETRY" in os.environ
if "CANVAS_PICKLE" in os.environ:
    app.conf.update(
        task_serializer="pickle",
        result_serializer="pickle",
        accept_content=["json", "pickle"],
    )
if "CANVAS_CLAIMS" in os.environ:
    # For as long as all attempts to send may take.
    app.conf.broker_connection_timeout = 60


@app.task
def add(x: int, y: int) -> int:
    """Return the sum."""
    return x + y


@app.task
def slowly(number: int, seconds: float) -> int:
    """Return *number*, after a while."""
    time.sleep(seconds)
    return number


@app.task(bind=True)
def fall(self: Any, number: int) -> int:
    """Return *number*; the first time its process is killed when that is stored and counted."""
    app.backend.mark_as_done(self.request.id, number, self.request)
    if app.backend.client.set(f"fallen-{self.request.id}", 1, nx=True):
        os.kill(os.getpid(), signal.SIGKILL)
    return number + 1


def _is_killed() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _child_is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _is_stopped() -> None:
    app.backend.client.set("sending", 1)
    time.sleep(600)


def _is_stopped_late() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGQUIT])
    _is_stopped()


ENDS: dict[str, Callable[[], None]] = {
    "killed": _is_killed,
    "its child killed": _child_is_killed,
    "stopped": _is_stopped,
    "stopped late": _is_stopped_late,
}


@app.task(bind=True)
def interrupted(self: Any, number: int, how: str) -> int:
    """Return *number*; the first time, its process ends when it is to send its chord's body."""
    if app.backend.client.set(f"interrupted-{self.request.id}", 1, nx=True):
        node = [self.request.hostname]
        app.control.cancel_consumer("celery", destination=node, reply=True, timeout=60, limit=1)
        app.amqp._retry_publish = lambda *_: ENDS[how]()
    return number


@app.task
def total(numbers: list[int]) -> int:
    """Return the sum."""
    return sum(numbers)


@app.task
def listed(values: list[Any]) -> list[Any]:
    """Return them."""
    return values


@app.task
def refuse(number: int) -> None:
    """Fail."""
    raise ValueError(number)


@app.task(bind=True, max_retries=2)
def insist(self: Any, number: int) -> int:
    """Succeed at the second try."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    return number


@app.task(ignore_result=True)
def ignored(number: int) -> int:
    """Return what only a chord is told."""
    return number


@app.task(bind=True)
def become(self: Any, number: int) -> Any:
    """Be replaced by a group whose results are summed up."""
    raise self.replace(chord(group(add.s(number, one) for one in range(3)), total.s()))


@app.task
def spread(number: int) -> list[str]:
    """Send two tasks; they are the children of this one."""
    return [add.delay(number, one).id for one in range(2)]


@app.task
def where() -> str:
    """Return which worker's backend stores this, and its process."""
    # The producer extends either.
    kinds = [each.__module__ for each in type(app.backend).__mro__]
    where = next(each for each in kinds if not each.startswith("task_server.producer"))
    return f"{where} {os.environ.get('CANVAS_SIDE', 'ours')}"


@app.task
def note(request: Any, error: BaseException, traceback: Any) -> None:
    """Be an errback."""
    app.backend.client.rpush("errbacks", request.id)
