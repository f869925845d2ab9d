"""A project whose tasks resolve names."""

import os
import socket
from pathlib import Path

from celery import Celery

app = Celery("naming")
app.conf.task_ignore_result = True

LOG = Path(os.environ.get("PROJ_LOG", os.devnull))


@app.task
def resolve(name: str) -> None:
    """Resolve *name*, and log its address."""
    found = socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)
    with LOG.open("a") as log:
        log.write(f"{name} {found[0][4][0]}\n")
