"""A project whose tasks fail, in each way in which a task can."""

import os
import signal
import sys
import time
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject

app = Celery("failing")
app.conf.task_ignore_result = "FAILING_RESULTS" not in os.environ
if "FAILING_PICKLE" in os.environ:
    app.conf.update(task_serializer="pickle", accept_content=["json", "pickle"])


class BrokenError(Exception):
    """Cannot be pickled, and has no text."""

    def __init__(self, one: int, two: int) -> None:
        self.handle = sys.stderr
        super().__init__(one, two, self.handle)

    def __str__(self) -> str:
        raise RuntimeError("no text")


class ExpectedError(Exception):
    """One that a task declares."""


class Odd:
    """An argument that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def deeply(depth: int) -> None:
    """Raise from far below, with a long text."""
    if depth:
        deeply(depth - 1)
    raise ValueError("x" * 1_000_000)


def fail(how: str) -> None:
    """Fail in the way *how*."""
    if how == "value":
        raise ValueError("no such customer redis://:mellon@db/0")
    if how == "broken":
        raise BrokenError(1, 2)
    if how == "deep":
        deeply(300)
    if how == "escapes":
        raise ValueError("\x1b[2J\x00\ud800 done")
    if how == "exit":
        raise SystemExit(3)
    if how == "later":
        time.sleep(3)
        raise ValueError("at last")


@app.task
def failing(how: str, *args: Any, **kwargs: Any) -> None:
    """Fail."""
    fail(how)


@app.task(acks_late=False)
def early(how: str) -> None:
    """Fail, after the message was acknowledged."""
    fail(how)


@app.task(acks_on_failure_or_timeout=False)
def unacknowledged(how: str) -> None:
    """Fail; the message is rejected."""
    fail(how)


@app.task(bind=True, max_retries=2)
def retrying(self: "Task[Any, Any]", how: str) -> None:
    """Fail three times."""
    try:
        fail(how)
    except ValueError as error:
        raise self.retry(exc=error, countdown=0) from error


@app.task(autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0)
def insisting(how: str) -> None:
    """Fail twice."""
    fail(how)


@app.task
def ignoring() -> None:
    """Be ignored."""
    raise Ignore


@app.task
def rejecting() -> None:
    """Drop the message."""
    raise Reject("not wanted", requeue=False)


@app.task(throws=(ExpectedError,))
def expecting() -> None:
    """Fail as expected."""
    raise ExpectedError("as usual")


@app.task(time_limit=1, soft_time_limit=None)
def limited() -> None:
    """Take too long."""
    time.sleep(60)


@app.task(soft_time_limit=1, time_limit=30)
def warned() -> None:
    """Take too long, and be told."""
    time.sleep(60)


@app.task(acks_late=False)
def dying() -> None:
    """Take the child with it."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(ignore_result=False)
def once(key: str, value: Any = None) -> Any:
    """Fail until the *key* is in Redis; return *value* then."""
    if not app.broker_connection().default_channel.client.exists(key):
        raise ValueError(f"no {key}")
    return value


@app.task(ignore_result=False)
def add(one: int, two: int) -> int:
    """Return the sum."""
    return one + two


@app.task(ignore_result=False)
def total(numbers: list[int]) -> int:
    """Return the sum."""
    return sum(numbers)


@app.task
def working(number: int) -> int:
    """Succeed."""
    return number
