"""
A project made like CourtListener: pickled messages, results in Redis, Sentry, a big import.

The ballast stands for what its models, parsers and lists of courts are in memory: it makes forks
and full garbage collections cost what they cost there.
"""

import os

import producing
import readiness  # noqa: F401
import requests  # noqa: F401
import sentry_sdk
from celery import Celery
from recorded import record
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.redis import RedisIntegration

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orm_settings")

#: Half a million objects that the garbage collector looks at.
BALLAST = [{"id": number, "parts": [number, {"name": str(number)}]} for number in range(170_000)]

sentry_sdk.init(
    dsn="https://key@sentry.invalid/1",
    # Nothing leaves the machine.
    transport=lambda _event: None,
    integrations=[CeleryIntegration(), DjangoIntegration(), RedisIntegration()],
)

app = Celery("courtlistener", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    result_backend=os.environ["BENCH_RESULTS"],
    task_serializer="pickle",
    result_serializer="pickle",
    accept_content=["pickle", "json"],
    broker_connection_retry_on_startup=True,
)


@app.task
def select(number: int) -> str:
    """Read a row, and keep the result."""
    from courts.models import Court  # noqa: PLC0415 - once Django is set up

    name = Court.objects.get(pk=number % 100 + 1).name
    record(number)
    return name


producing.prepare(app)
