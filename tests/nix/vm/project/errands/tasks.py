"""Tasks that sleep, block, eat memory or die; what each did is a file in the media folder."""

import os
import signal
import time
from pathlib import Path

from celery import shared_task


def begin(name: str) -> bool:
    """Record that the task *name* runs; return whether it does for the first time."""
    try:
        _file(name, "begun").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def done(name: str) -> None:
    """Record that the task *name* has ended."""
    _file(name, "done").touch()


def _file(name: str, what: str) -> Path:
    return Path(os.environ["DJANGO_MEDIA_ROOT"]) / f"{name}.{what}"


@shared_task(name="errands.sleep")
def sleep(name: str, seconds: str) -> None:
    """Wait; other tasks may run."""
    begin(name)
    time.sleep(float(seconds))
    done(name)


@shared_task(name="errands.stall")
def stall(name: str, seconds: str) -> None:
    """Let nothing else run in this process, the first time."""
    if begin(name):
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            pass
    done(name)


@shared_task(name="errands.eat")
def eat(name: str, megabytes: str) -> None:
    """Take memory, the first time."""
    if begin(name):
        _ = b"x" * (int(megabytes) * 2**20)
    done(name)


@shared_task(name="errands.die")
def die(name: str) -> None:
    """End the process that runs this, each time."""
    begin(name)
    os.kill(os.getpid(), signal.SIGKILL)
