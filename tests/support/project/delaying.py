"""A project whose tasks are due later; each run leaves a line with its time in PROJ_LOG."""

import os
import time
from typing import Any

from celery import Celery, Task

app = Celery("delaying")
app.conf.task_ignore_result = False


def note(number: int) -> None:
    """Append the number and the time; lines this short are written whole."""
    handle = os.open(os.environ["PROJ_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"run {number} {time.time():.3f}\n".encode())
    os.close(handle)


@app.task
def work(number: int) -> int:
    """Run, and return *number*."""
    note(number)
    return number


@app.task(rate_limit="4/s")
def limited(number: int) -> None:
    """Run, four times a second at most."""
    note(number)


@app.task(bind=True, max_retries=2)
def again(self: "Task[Any, Any]", number: int, seconds: float) -> int:
    """Run three times, *seconds* apart."""
    note(number)
    if self.request.retries < 2:
        raise self.retry(countdown=seconds)
    return int(self.request.retries)
