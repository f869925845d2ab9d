"""A project whose tasks wait for the results of others."""

from celery import Celery, group
from celery.result import allow_join_result

app = Celery("waiting")


@app.task
def child(number: int) -> int:
    """Return *number*."""
    return number


@app.task
def parent() -> int:
    """Wait for five children."""
    with allow_join_result():
        return sum(group(child.s(number) for number in range(5))().get(timeout=60))
