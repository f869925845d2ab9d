"""A beat of Celery's sends through the producer, as django-celery-beat's does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from task_server.producer import sent_at
from tests.support.redis import Redis
from tests.support.wait import until

PROJECT = """
import os

from celery import Celery
from task_server import producer

app = Celery("periodic", broker=os.environ["BROKER"])
app.conf.beat_schedule = {
    "tick": {"task": "periodic.tick", "schedule": 0.2, "args": ("x",)},
    "other": {
        "task": "periodic.tick",
        "schedule": 0.3,
        "options": {"queue": "other", "expires": 60},
    },
}
app.conf.beat_max_loop_interval = 1
assert producer.install(app)


@app.task(name="periodic.tick")
def tick(*args):
    pass
"""


def messages(broker: Redis, queue: str = "celery") -> list[dict[str, Any]]:
    """Return the messages of *queue*."""
    client: Any = broker.client
    return [json.loads(text) for text in client.lrange(queue, 0, -1)]


def test_a_beat_sends_and_goes_on_when_redis_is_back(tmp_path: Path, own_broker: Redis) -> None:
    """
    Each entry goes to its queue, with its options and the time; a lost connection ends nothing.
    """
    (tmp_path / "periodic.py").write_text(PROJECT)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*(sys.executable, "-m", "celery", "--app=periodic", "beat"), "--schedule=entries"],
            cwd=tmp_path,
            env={**os.environ, "BROKER": own_broker.url},
            stdout=log,
            stderr=log,
        )
    try:
        for lost in (
            lambda: None,
            lambda: own_broker.client.client_kill_filter(skipme=True),
            own_broker.stop,
        ):
            lost()
            if not own_broker.is_running():
                own_broker.start()
            counts = [len(messages(own_broker, queue)) for queue in ("celery", "other")]
            until(
                lambda counts=counts: (
                    [
                        len(messages(own_broker, queue)) > count + 2
                        for queue, count in zip(("celery", "other"), counts, strict=True)
                    ]
                    == [True, True]
                ),
                "more of both",
            )
        assert process.poll() is None, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
    sent = [*messages(own_broker), *messages(own_broker, "other")]

    ids = [message["headers"]["id"] for message in sent]
    assert len(ids) == len(set(ids))
    assert {"periodic.tick"} == {message["headers"]["task"] for message in sent}
    assert all(sent_at(message) is not None for message in sent)
    assert all(message["headers"]["expires"] for message in messages(own_broker, "other"))
