"""A Django project whose results are in its own database (SQLite), by django-celery-results."""

import os

import django
from celery import Celery
from django.conf import settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="stored",
        USE_TZ=True,
        INSTALLED_APPS=["django_celery_results", "task_server.producer"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["STORED_FILE"]}
        },
        CELERY_BROKER_URL=os.environ["CELERY_BROKER_URL"],
        CELERY_RESULT_BACKEND="django-db",
    )

app = Celery("stored")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task
def add(x: int, y: int) -> int:
    """Return the sum."""
    return x + y


@app.task
def total(numbers: list[int]) -> int:
    """Return the sum."""
    return sum(numbers)


django.setup()
