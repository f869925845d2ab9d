"""A Django project with a task of one SELECT, as Django's and Celery's documentation have it."""

import os

import producing
import readiness  # noqa: F401
from celery import Celery
from recorded import record

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orm_settings")

app = Celery("orm", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"])
app.conf.broker_connection_retry_on_startup = True


@app.task(ignore_result=True)
def select(number: int) -> None:
    """Read a row; nobody wants the result."""
    _name_of(number)
    record(number)


@app.task
def select_kept(number: int) -> str:
    """Read a row, and keep the result."""
    name = _name_of(number)
    record(number)
    return name


@app.task(ignore_result=True)
def wait(number: int, seconds: float) -> None:
    """Let PostgreSQL wait for *seconds*."""
    from django.db import connection  # noqa: PLC0415 - as below

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])
    record(number)


def _name_of(number: int) -> str:
    # A model can be imported only when Django is set up.
    from courts.models import Court  # noqa: PLC0415

    return Court.objects.get(pk=number % 100 + 1).name


producing.prepare(app)
