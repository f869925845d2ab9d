"""A project that leaves a line in PROJ_LOG for each of Celery's signals that it gets."""

import json
import os

from celery import Celery, signals

app = Celery("signalling")
MAIN = os.getpid()

NAMES = sorted(name for name, one in vars(signals).items() if isinstance(one, signals.Signal))


def note(line):
    handle = os.open(os.environ["PROJ_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def listen(name):
    def heard(sender=None, **details):
        plain = {
            key: value
            for key, value in details.items()
            if key in {"sig", "how", "exitcode", "state", "terminated", "expired"}
        }
        kind = type(sender).__name__
        if kind == "str":
            # The node's name has the host in it.
            kind = sender.partition("@")[0]
        keys = sorted(set(details) - {"signal"})
        where = "main" if os.getpid() == MAIN else "child"
        note(f"signal {json.dumps([where, name, kind, keys, plain])}")

    getattr(signals, name).connect(heard, weak=False)


for each in NAMES:
    listen(each)


@app.task(name="signalling.succeed")
def succeed():
    pass


@app.task(name="signalling.fail")
def fail():
    raise ValueError


@app.task(name="signalling.again", bind=True, max_retries=1, default_retry_delay=0)
def again(self):
    if self.request.retries == 0:
        raise self.retry()


@app.task(name="signalling.finish")
def finish():
    note("finished")
