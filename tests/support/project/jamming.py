"""A project whose log goes to the database, as Nautobot's does, and whose tasks share a lock."""

import logging
import os
import threading
import time

import django
from celery import Celery
from django.conf import settings
from redis import Redis

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "USER": os.environ["PGUSER"],
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ.get("PGPORT", ""),
            "PASSWORD": os.environ.get("PGPASSWORD", ""),
        }
    }
)
django.setup()

from django.db import connection, transaction  # noqa: E402 - its settings come first


def execute(sql: str, *values: object) -> None:
    """Ask the database."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


class ToDatabase(logging.Handler):
    """Writes each record to the table `log`, while it holds its lock, as every handler does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*."""
        execute("INSERT INTO log VALUES (%s)", record.getMessage())


log = logging.getLogger("jamming")
log.addHandler(ToDatabase())
log.setLevel("INFO")
log.propagate = False

LOCK = threading.RLock()

app = Celery("jamming")


@app.task
def job(number: int) -> None:
    """Say something twice, the second time with a connection that it holds."""
    log.info("first %d", number)
    time.sleep(0.2)
    log.info("second %d", number)


@app.task
def row(number: int) -> None:
    """As `job`, in a transaction that holds a lock on a row which all others want too."""
    with transaction.atomic():
        execute("SELECT * FROM shared FOR UPDATE")
        log.info("first %d", number)
        time.sleep(0.01)
        log.info("second %d", number)


@app.task
def started(number: int) -> None:
    """Use a thread that keeps its connection."""

    def ask() -> None:
        execute("INSERT INTO log VALUES (%s)", f"first {number}")
        execute("INSERT INTO log VALUES (%s)", f"second {number}")

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()


@app.task
def lock_until(url: str, key: str) -> None:
    """Own the lock until the Redis at *url* has something in the list *key*."""
    with LOCK, Redis.from_url(url) as client:
        client.brpop([key])


@app.task
def want_lock() -> None:
    """Hold a connection and want the lock."""
    execute("SELECT 1")
    with LOCK:
        pass
