"""A small Django project with Celery, whose worker calls `install` as task_server.app does."""

import os
import sys

from celery import Celery
from celery.signals import worker_init
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj")
if not settings.configured:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": "tester",
                "HOST": os.environ["GREEN_HOST"],
                "OPTIONS": {"application_name": "green"},
            }
        },
        USE_TZ=True,
    )

app = Celery("proj", broker=os.environ["GREEN_REDIS"], backend=os.environ["GREEN_REDIS"])
app.conf.broker_transport_options = {"max_connections": 600}
app.conf.result_backend_thread_safe = True


@worker_init.connect(weak=False)
def install(**_: object) -> None:
    """Celery logs and forgets an exception of a signal, but not SystemExit."""
    from task_server.errors import ConfigError  # noqa: PLC0415 only in the worker
    from task_server.worker import green  # noqa: PLC0415

    try:
        green.install(20)
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None


@app.task
def sleep_in_the_server(seconds: float) -> int:
    """Sleep in PostgreSQL, and return the process of the session."""
    from django.db import connection  # noqa: PLC0415 Django is set up by then

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s), pg_backend_pid()", [seconds])
        return int(cursor.fetchone()[1])
