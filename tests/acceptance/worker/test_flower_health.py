"""`task-server health flower` asks a real Flower, and the broker behind it."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import pytest

from task_server.contrib import flower as flower_of_ours
from tests.support.ports import own_port
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import PROJECT, Worker


class Flower:
    """
    A Flower of the project, and its health check, both of one configuration.

    Args:
        lines: What the configuration says of the project.
    """

    def __init__(self, folder: Path, lines: str) -> None:
        self.port = own_port()
        config = folder / "flower.toml"
        config.write_text(
            f'{lines}\n[flower]\nport = {self.port}\naddress = "0.0.0.0"\nurl_prefix = "watch"\n'
            'basic_auth = "user:sesame"\n'
        )
        self._environ = {**os.environ, "TASK_SERVER_CONFIG": str(config)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "task_server", "flower"],
            env={**self._environ, "PROJ_LOG": os.devnull},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def health(self, *options: str) -> tuple[int, str]:
        """Return the exit code and the line of its health check."""
        ended = subprocess.run(
            [sys.executable, "-m", "task_server", "health", "flower", *options],
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout + ended.stderr

    def workers(self) -> list[dict[str, Any]]:
        """Return the rows of its overview."""
        address = f"http://127.0.0.1:{self.port}/watch/workers?json=1"
        credentials = base64.b64encode(b"user:sesame").decode()
        request = Request(address, headers={"Authorization": f"Basic {credentials}"})
        with urlopen(request, timeout=30) as answer:
            return list(json.load(answer)["data"])


@pytest.fixture
def watch(folder: Path) -> Iterator[Callable[[str], Flower]]:
    """Start a Flower of a project, on all addresses, under a prefix and with a password."""
    with ExitStack() as stack:

        def start(lines: str) -> Flower:
            one = Flower(folder, lines)
            stack.callback(one.process.wait)
            stack.callback(one.process.kill)
            until(lambda: one.health()[0] == 0)
            return one

        yield start


@pytest.fixture
def flower(watch: Callable[[str], Flower], broker: Redis) -> Flower:
    """A Flower that answers, whose broker is in the configuration."""
    return watch(f'app = "proj"\ncode = "{PROJECT}"\nbroker_url = "{broker.url}"')


def test_flower_answers_and_so_does_its_broker(flower: Flower) -> None:
    """
    Prefix and password are no hindrance, and both questions are answered.
    """
    where = f"flower: ready: answers at 127.0.0.1:{flower.port}/watch/healthcheck\n"

    assert (0, where) == flower.health()
    assert (0, where) == flower.health("--ready")


def test_flower_without_its_broker_is_alive_and_not_ready(flower: Flower, broker: Redis) -> None:
    """
    Flower's own page says OK without Redis; with --ready the probe fails.
    """
    broker.stop()

    assert 0 == flower.health()[0]
    code, said = flower.health("--ready")
    assert 1 == code
    assert f"flower: alive, not ready: nothing listens at 127.0.0.1:{broker.port}" in said


def test_a_broker_that_only_the_project_names_is_asked(
    folder: Path, broker: Redis, watch: Callable[[str], Flower]
) -> None:
    """
    No setting of ours names it, and Flower knows it: ready with it, not ready without.
    """
    module = f'from celery import Celery\napp = Celery("named", broker="{broker.url}")\n'
    (folder / "named.py").write_text(module)
    one = watch(f'app = "named"\ncode = "{folder}"')

    with_broker = one.health("--ready")
    broker.stop()
    without = one.health("--ready")

    assert 0 == with_broker[0], with_broker
    assert 1 == without[0]
    assert f"not ready: nothing listens at 127.0.0.1:{broker.port}" in without[1]


def test_a_silent_worker_stays_visible_and_is_offline(
    flower: Flower, start: Callable[..., Worker]
) -> None:
    """
    The overview says it of a worker that is stopped, and does not leave it out.
    """
    worker = start("prefork", events=True).ready()
    until(lambda: [True] == [one["status"] for one in flower.workers()])
    worker.send(signal.SIGSTOP)
    try:
        shown = until(lambda: not (seen := flower.workers())[0]["status"] and seen)
    finally:
        worker.send(signal.SIGCONT)

    assert 1 == len(shown)
    assert shown[0]["hostname"].startswith("w@")
    until(lambda: flower.workers()[0]["status"])


def test_the_overview_keeps_silent_workers_longer_than_the_metrics() -> None:
    """
    For a day; any other option of Flower's is as it was given.
    """
    options = flower_of_ours.Shown(SimpleNamespace(purge_offline_workers=60, port=5555))

    assert 86400 == options.purge_offline_workers
    assert 5555 == options.port
