"""Tasks that `task-server call` sends; results where CALLING_RESULTS says."""

import os
import time

from celery import Celery

SERIALIZER = os.environ.get("CALLING_SERIALIZER", "json")

app = Celery("calling")
app.conf.update(
    broker_url=os.environ.get("CALLING_BROKER", "redis://127.0.0.1:1/0"),
    result_backend=os.environ.get("CALLING_RESULTS"),
    task_routes={"calling.far": {"queue": "far"}},
    # Celery's workers refuse pickle as root, unless they are forced.
    accept_content=[SERIALIZER],
    task_serializer=SERIALIZER,
    result_serializer=SERIALIZER,
)


@app.task(name="calling.echo")
def echo(*args, **kwargs):
    return [list(args), kwargs]


@app.task(name="calling.add")
def add(a, b=1):
    return a + b


@app.task(name="calling.quiet", ignore_result=True)
def quiet():
    return "said"


@app.task(name="calling.fail")
def fail():
    raise ValueError("broken")


@app.task(name="calling.odd")
def odd():
    return {1, 2} if app.conf.result_serializer == "pickle" else [1, 2]


@app.task(name="calling.slow")
def slow():
    time.sleep(600)


@app.task(name="calling.far")
def far():
    return None


@app.task(name="calling.where", bind=True)
def where(self):
    return {
        "queue": self.request.delivery_info["routing_key"],
        "priority": self.request.delivery_info["priority"],
        "eta": self.request.eta,
        "expires": self.request.expires,
    }
