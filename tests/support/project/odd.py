"""A project that gets odd messages; what becomes of each leaves a line in PROJ_LOG."""

import os
import time

from celery import Celery
from celery.signals import task_failure, task_revoked

app = Celery("odd")
app.conf.task_ignore_result = True


def note(*words: object) -> None:
    """Append a line; lines this short are written whole."""
    line = " ".join(ascii(str(word))[1:-1][:200].replace(" ", "_") for word in words)
    handle = os.open(os.environ["PROJ_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


@app.task
def good(number: int) -> None:
    """Say that it ran."""
    note("good", number)


@app.task(bind=True)
def odd(self, *args: object, **kwargs: object) -> None:
    """Say that it ran, whatever it is given."""
    note("odd", self.request.id, *args)


@app.task
def slow(name: str) -> None:
    """Take three seconds."""
    note("slow", name)
    time.sleep(3)


@task_failure.connect
def failed(task_id: object, exception: BaseException, **_: object) -> None:
    note("failed", type(exception).__name__, task_id)


@task_revoked.connect
def revoked(request: object = None, **_: object) -> None:
    note("revoked", getattr(request, "id", None))
