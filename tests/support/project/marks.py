"""
The app of the fault tests, for `task-server worker` and for Celery's own command line.

Its tasks do as little as they can: their file stays open, and little is imported.
"""

import os
import select
import socket
import time

import steps
from celery import Celery
from celery.signals import worker_ready

#: "late" or "early" if `celery worker` was started, nothing if `task-server worker`.
BARE = os.environ.get("BARE")

if BARE and os.environ["TRANSPORT"] == "atomic":
    from task_server import transport

    assert transport.install()

app = Celery("marks", broker=os.environ["BROKER"])
if not os.environ.get("RESULTS"):
    app.conf.task_ignore_result = True
if BARE != "early":
    # What a test would wait for too long.
    app.conf.broker_transport_options = {
        "unacked_restore_interval": float(os.environ.get("RESTORE", "1"))
    }
for name in ("health_check_interval", "socket_timeout", "delay_seconds"):
    if name.upper() in os.environ:
        app.conf.broker_transport_options[name] = float(os.environ[name.upper()])
if "MASTER_NAME" in os.environ:
    # Of Sentinel.
    app.conf.broker_transport_options["master_name"] = os.environ["MASTER_NAME"]
if BARE == "late":
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=4,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    app.conf.broker_transport_options |= {
        "visibility_timeout": float(os.environ["VISIBILITY_TIMEOUT"]),
        "max_connections": 100,
        "unacked_restore_throttle": 1,
    }
if os.environ.get("RESULTS"):
    app.conf.result_backend = os.environ["BROKER"]
if os.environ.get("RESULTS") == "always":
    # Celery asks for a result before it stores one, and does not ask twice: if
    # that fails, the task has failed, whatever it did.
    app.conf.result_backend_always_retry = True

MARKS = os.open(os.environ["PROJ_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

#: What a run writes: that it has started and ended, or for the benchmarks the time, or nothing.
MARK = os.environ.get("MARK", "number")


@app.task
def mark(number: int, seconds: float = 0.0) -> None:
    """Take *seconds*; leave a mark before and after."""
    if MARK == "time":
        os.write(MARKS, f"{time.time()}\n".encode())
    elif MARK == "number":
        os.write(MARKS, f"start {number} {os.getpid()}\n".encode())
    if seconds:
        # time.sleep fails under the libfaketime that test_clock uses.
        select.select([], [], [], seconds)
    if MARK == "number":
        os.write(MARKS, f"done {number} {os.getpid()} {time.monotonic():.3f}\n".encode())


@app.task
def relay(number: int, seconds: float = 0.0) -> None:
    """Send a message, as a task of a chain and a retry do."""
    mark.delay(number, seconds)


@app.task
def eat(number: int, mebibytes: float) -> None:
    """Take *mebibytes* of memory, but not if it has tried before."""
    tried = f"{os.environ['PROJ_LOG']}.{number}"
    if not os.path.exists(tried):  # noqa: PTH110 - nothing more is imported than must be
        os.close(os.open(tried, os.O_CREAT))
        bytearray(int(mebibytes) << 20)[::4096] = b"x" * (int(mebibytes) << 8)
    mark.run(number)


if BARE:

    @worker_ready.connect
    def ready(**_: object) -> None:
        """Notify the test, as `task-server worker` does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])


steps.install(os.environ)
