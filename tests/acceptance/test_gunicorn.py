"""Web workers of gunicorn send tasks through the producer, from a project that is preloaded."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from task_server.producer import sent_at
from tests.support import proc
from tests.support.ports import own_port
from tests.support.redis import Redis
from tests.support.wait import until

pytestmark = pytest.mark.slow

#: Web workers, and requests to them; each sends one task, and a group of three.
WORKERS, REQUESTS, TASKS = 3, 120, 4

PROJECT = """
import os

import django
from celery import Celery, group
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(
    SECRET_KEY="x",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="web",
    INSTALLED_APPS=["task_server.producer"],
)
app = Celery("web", broker=os.environ["BROKER"], backend=os.environ["BROKER"])


@app.task
def work(number):
    return number


def send(request, number):
    one = work.delay(number)
    several = group(work.s(number) for _ in range(3)).apply_async()
    ids = [one.id, *(each.id for each in several.results)]
    return JsonResponse({"ids": ids, "pid": os.getpid()})


urlpatterns = [path("send/<int:number>", send)]
django.setup()
application = get_wsgi_application()
# Before the fork: the connection of the parent must not be that of its children.
BEFORE = work.delay(-1).id
"""


@contextmanager
def served(folder: Path, broker: Redis, *arguments: str) -> Iterator[tuple[int, int]]:
    """Serve the project; yield the port and the process."""
    (folder / "web.py").write_text(PROJECT)
    port = own_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "web:application", f"--bind=127.0.0.1:{port}"),
            *(f"--workers={WORKERS}", "--preload", *arguments),
        ],
        cwd=folder,
        env={**os.environ, "BROKER": broker.url},
        start_new_session=True,
    )
    try:
        until(lambda: len(proc.children(process.pid)) == WORKERS, "the web workers")
        yield port, process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(port: int, number: int) -> dict[str, Any]:
    """Have a task sent by one of the web workers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/send/{number}", timeout=100) as answer:
        return dict(json.load(answer))


@pytest.mark.parametrize(
    "arguments",
    [(), ("--threads=4",), ("--worker-class=gevent",)],
    ids=["sync", "threads", "gevent"],
)
def test_each_task_is_sent_once_by_whichever_worker(
    arguments: tuple[str, ...], tmp_path: Path, own_broker: Redis
) -> None:
    """
    Many at once, before and after Redis has restarted, and one by the parent before the fork.
    """
    with served(tmp_path, own_broker, *arguments) as (port, _), ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda number: ask(port, number), range(REQUESTS)))
        own_broker.stop()
        own_broker.start()
        answers += list(threads.map(lambda number: ask(port, number), range(REQUESTS)))
    client: Any = own_broker.client
    messages = [json.loads(text) for text in client.lrange("celery", 0, -1)]
    found = [message["headers"]["id"] for message in messages]
    said = [each for answer in answers for each in answer["ids"]]

    assert 2 * REQUESTS * TASKS == len(set(said))
    # And the one of the parent.
    assert len(said) + 1 == len(found) == len(set(found))
    assert set(said) < set(found)
    assert all(sent_at(message) is not None for message in messages)
    assert 1 < len({answer["pid"] for answer in answers}) <= WORKERS
