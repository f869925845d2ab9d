"""A Celery app without Django: tasks that do nothing, or wait for somebody else."""

import os

import producing
import readiness  # noqa: F401
from celery import Celery
from recorded import record

app = Celery("plain", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"])
app.conf.broker_connection_retry_on_startup = True
if transport := os.environ.get("BENCH_TRANSPORT"):
    app.conf.broker_transport = transport


@app.task(ignore_result=True)
def noop(number: int) -> None:
    """Do nothing; nobody wants the result."""
    record(number)


@app.task
def kept(number: int) -> int:
    """Do nothing, and keep the result."""
    record(number)
    return number


@app.task(ignore_result=True)
def failing(number: int) -> None:
    """Fail, as a task whose server is away."""
    record(number)
    raise ValueError(f"the order {number} cannot be sent")


@app.task(ignore_result=True)
def payload(number: int, text: str) -> None:
    """Take *text*, and do nothing with it."""
    record(number)


@app.task
def collect(numbers: list[int]) -> int:
    """Return how many results there are: the end of a chord."""
    return len(numbers)


@app.task
def link(number: int) -> int:
    """Return the next number: a link of a chain."""
    record(number)
    return number + 1


producing.prepare(app)
