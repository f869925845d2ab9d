"""A project whose tasks are parts of chords, groups and chains, with results in Redis."""

import os
import signal
import time
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
