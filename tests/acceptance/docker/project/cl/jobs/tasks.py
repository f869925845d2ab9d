import socket
import time
from pathlib import Path

from celery import shared_task
from celery.signals import worker_ready
from django.conf import settings
from django.db import connection


@shared_task
def add(x, y):
    return x + y


@shared_task
def run(number, seconds=0.0):
    """Work for *seconds*, and leave a row that says who ran *number*."""
    note(number, "began")
    time.sleep(seconds)
    note(number, "ended")


@shared_task
def write(name, text):
    """Write the file *name* to the media folder, and return who owns it."""
    path = Path(settings.MEDIA_ROOT, name)
    path.write_text(text)
    return [path.stat().st_uid, path.stat().st_gid]


def note(number, word):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runs (number, word, host) VALUES (%s, %s, %s)",
            [number, word, socket.gethostname()],
        )
    connection.close()


@worker_ready.connect
def report(**_):
    """Leave a row, which says when a worker takes tasks, whatever command it was started by."""
    note(0, "ready")
