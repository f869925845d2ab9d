"""Tasks of every kind in one Django project: with a query, a result, a chord, a retry, a size."""

import os
import socket
import time
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pg_settings")

import django
from celery import Celery, Task
from celery.signals import worker_ready
from django.db import InterfaceError, OperationalError, models

app = Celery("mixed", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(
    task_ignore_result=True,
    # A project that must not lose a retry or a result while Redis restarts says so.
    result_backend_always_retry=True,
    task_publish_retry_policy={
        "max_retries": 100,
        "interval_start": 0,
        "interval_step": 0.1,
        "interval_max": 0.5,
    },
)
if "MIXED_VISIBILITY" in os.environ:
    app.conf.broker_transport_options = {
        "visibility_timeout": float(os.environ["MIXED_VISIBILITY"])
    }
if os.environ.get("MIXED_PRODUCER") == "ours":
    from task_server import producer

    producer.install(app)

django.setup()

#: Which start of which worker this is.
WHO = os.environ.get("MIXED_WHO", "sender")

#: Seconds that a task takes.
SECONDS = 0.01


class Mark(models.Model):
    """A table that there is."""

    number = models.IntegerField(primary_key=True)

    class Meta:
        """It is the test's."""

        app_label = "mixed"
        managed = False
        db_table = "marks"

    def __str__(self) -> str:
        """Return the number."""
        return str(self.number)


def note(self: "Task[Any, Any]", word: str, number: int) -> None:
    """Append a line: *word*, number, process, delivery; lines this short are written whole."""
    tag = (self.request.properties or {}).get("delivery_tag", "")
    handle = os.open(os.environ["PROJ_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{word} {number} {WHO} {os.getpid()} {tag}\n".encode())
    os.close(handle)


@app.task(bind=True)
def plain(self: "Task[Any, Any]", number: int, payload: str = "") -> None:
    """Have a payload."""
    note(self, "start", number)
    time.sleep(SECONDS)
    note(self, "done", number)


# A task that a lost database ends has run: it must ask for another run itself.
@app.task(
    bind=True,
    autoretry_for=(OperationalError, InterfaceError),
    max_retries=None,
    default_retry_delay=1,
)
def select(self: "Task[Any, Any]", number: int) -> None:
    """Ask the database."""
    note(self, "start", number)
    assert not Mark.objects.filter(number=number).exists()
    note(self, "done", number)


@app.task(bind=True, ignore_result=False)
def keep(self: "Task[Any, Any]", number: int) -> int:
    """Return *number*, which is kept."""
    note(self, "start", number)
    time.sleep(SECONDS)
    note(self, "done", number)
    return number


@app.task(bind=True, ignore_result=False)
def total(self: "Task[Any, Any]", numbers: list[int], number: int) -> int:
    """Return the sum of a chord."""
    note(self, "start", number)
    note(self, "done", number)
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def again(self: "Task[Any, Any]", number: int) -> None:
    """Succeed at the second attempt, which comes later."""
    note(self, "start", number)
    if not self.request.retries:
        raise self.retry(countdown=1.5)
    note(self, "done", number)


if WHO.startswith("stock"):

    @worker_ready.connect
    def ready(**_: object) -> None:
        """Notify the test, as `task-server worker` does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
