"""Tasks that search for the broker's password where they, and what they start, could find it."""

import ctypes
import os
import subprocess
from pathlib import Path

from celery.signals import worker_ready
from proj import answer, app, ended, note

app.conf.broker_url = "redis://the-project-s-own.invalid/0"
#: Projects read it in their settings.
SEEN = os.environ.get("CELERY_BROKER_URL", "")


def places():
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    yield "environ", str(dict(os.environ))
    yield "getenv", str(libc.getenv(b"CELERY_BROKER_URL"))
    yield "program", subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    for pid in (os.getpid(), os.getppid(), os.getpgrp()):
        yield "proc", Path(f"/proc/{pid}/environ").read_text()
        yield "arguments", Path(f"/proc/{pid}/cmdline").read_text()


@app.task(name="proj.search", ignore_result=False)
def search(number, secret):
    """Say where *secret* is to be found, and send one more task."""
    found = {name for name, text in places() if secret in text}
    note(f"found {','.join(sorted(found)) or 'nowhere'} imported {secret in SEEN}")
    answer.delay(number + 1)
    ended(number)
    return number


@worker_ready.connect
def say(**_):
    note(f"own {os.environ.get('REDIS_URL')}")
