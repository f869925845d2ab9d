"""A project whose tasks end in every way there is."""

import os
import signal
import time

from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from kombu import Exchange, Queue

app = Celery("counting")
app.conf.task_ignore_result = True
app.conf.task_queues = [
    Queue("celery", Exchange("celery"), routing_key="celery"),
    Queue("topical", Exchange("news", type="direct"), routing_key="news.key"),
]


@app.task
def good() -> None:
    """Succeed."""


@app.task
def bad() -> None:
    """Fail."""
    raise ValueError("bad")


@app.task(bind=True, max_retries=2, default_retry_delay=0)
def retried(self: Task) -> None:
    """Fail after two more tries."""
    raise self.retry(exc=ValueError("again"), countdown=0)


@app.task
def ignored() -> None:
    """Ask for no result."""
    raise Ignore


@app.task
def rejected() -> None:
    """Reject the message."""
    raise Reject("no", requeue=False)


@app.task
def inner() -> None:
    """Run another task in this one, which is none of its own."""
    good.apply()


@app.task(time_limit=1)
def hang() -> None:
    """Run beyond the limit."""
    time.sleep(600)


@app.task(acks_late=False)
def die() -> None:
    """Take the process of the pool along."""
    os.kill(os.getpid(), signal.SIGKILL)
