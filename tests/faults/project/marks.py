"""
The Celery app of the fault tests.

Every run of a task appends its number to a file, in one write: a store that
no fault of the broker touches.
"""

import os
import time

import steps
from celery import Celery
from celery.signals import worker_ready

if os.environ["TRANSPORT"] == "atomic":
    from task_server import transport

    assert transport.install()

app = Celery("marks", broker=os.environ["BROKER"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": float(os.environ["VISIBILITY_TIMEOUT"]),
        "max_connections": 100,
        "unacked_restore_interval": float(os.environ.get("RESTORE", "1")),
        "unacked_restore_throttle": 1,
    },
)

MARKS = os.open(os.environ["MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

#: What a run writes: its number, or for the benchmarks the time, or nothing.
MARK = os.environ.get("MARK", "number")


@app.task
def mark(number: int, seconds: float = 0.0) -> None:
    if MARK == "time":
        os.write(MARKS, f"{time.time()}\n".encode())
    elif MARK != "no":
        os.write(MARKS, b"%d\n" % number)
    if seconds:
        time.sleep(seconds)


@worker_ready.connect
def ready(**_: object) -> None:
    os.write(int(os.environ["READY"]), b"ready\n")


steps.install(os.environ)
