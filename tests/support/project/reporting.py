"""A project that reports its errors to Sentry, as its documentation says."""

import os

import sentry_sdk
from celery import Celery
from sentry_sdk.integrations.celery import CeleryIntegration

sentry_sdk.init(
    dsn=os.environ["REPORTING_DSN"], traces_sample_rate=1.0, integrations=[CeleryIntegration()]
)

app = Celery("reporting")


@app.task
def outer() -> None:
    """Have the other one fail."""
    failing.delay()


@app.task
def failing() -> None:
    """Fail."""
    raise ValueError("on purpose")
