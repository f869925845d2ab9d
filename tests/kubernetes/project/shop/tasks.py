import os
import socket
import time
from pathlib import Path

from celery import shared_task
from django.db import connection
from django.utils import timezone

from shop.models import Run


@shared_task
def work(number, seconds=0.0):
    """Take *seconds*, in the queue of the prefork workers."""
    _run(number, lambda: time.sleep(seconds))


@shared_task
def visit(number, seconds=0.0):
    """Take *seconds*, in the queue of the gevent workers."""
    _run(number, lambda: time.sleep(seconds))


@shared_task
def compute(number, rounds):
    """Keep a processor busy."""
    _run(number, lambda: sum(each * each for each in range(rounds)))


@shared_task
def swell(number, megabytes):
    """Take memory, page by page."""
    _run(number, lambda: b"x" * (megabytes << 20))


@shared_task
def fill(number, megabytes):
    """Fill /tmp as far as it goes; the file is left there by intent."""

    def write():
        with Path("/tmp/full").open("wb") as file:
            file.writelines(b"x" * (1 << 20) for _ in range(megabytes))

    _run(number, write)


def _run(number, do):
    run = Run.objects.create(number=number, host=socket.gethostname(), pid=os.getpid())
    connection.close()
    do()
    Run.objects.filter(pk=run.pk).update(ended=timezone.now())
    connection.close()
