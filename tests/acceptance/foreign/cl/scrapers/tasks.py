import os
import threading

from celery import shared_task
from django.db import connection


@shared_task
def add(x, y):
    return x + y


@shared_task
def ask_database(number):
    """Return what PostgreSQL makes of *number*, once the gate is free, and where this runs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s * 2, pg_advisory_xact_lock_shared(1)", [number])
        return {
            "doubled": cursor.fetchone()[0],
            "pid": os.getpid(),
            "patched": threading.Thread.__module__ != "threading"
            or "gevent" in type(threading.Lock()).__module__
            or "gevent" in str(threading.get_ident),
        }
