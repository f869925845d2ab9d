"""A project whose tasks call each other over both queues; it knows nothing of OpenTelemetry."""

from celery import Celery, chain

app = Celery("tracing")
app.conf.result_backend = app.conf.broker_url


@app.task
def outer(number: int) -> int:
    """Have `inner` and `last` run, one after the other, in the other worker."""
    chain(inner.s(number), last.s()).apply_async()
    return number


@app.task
def inner(number: int) -> int:
    """Return what comes next."""
    return number + 1


@app.task
def last(number: int) -> int:
    """Return it."""
    return number


@app.task
def failing() -> None:
    """Fail."""
    raise ValueError("on purpose")


app.conf.task_routes = {"tracing.inner": "io_bound", "tracing.last": "io_bound"}
