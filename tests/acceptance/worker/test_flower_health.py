"""`task-server health flower` asks a real Flower, and the broker behind it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import own_port
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import PROJECT


class Flower:
    """A Flower of the project, and its health check, both of one configuration."""

    def __init__(self, folder: Path, broker_url: str) -> None:
        self.port = own_port()
        config = folder / "task-server.toml"
        config.write_text(
            f'app = "proj"\ncode = "{PROJECT}"\nbroker_url = "{broker_url}"\n'
            f'[flower]\nport = {self.port}\naddress = "0.0.0.0"\nurl_prefix = "watch"\n'
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


@pytest.fixture
def flower(folder: Path, broker: Redis) -> Iterator[Flower]:
    """A Flower that answers, on all addresses, under a prefix and with a password."""
    one = Flower(folder, broker.url)
    try:
        until(lambda: one.health()[0] == 0)
        yield one
    finally:
        one.process.kill()
        one.process.wait()


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


def test_a_flower_that_ended_is_dead(flower: Flower) -> None:
    """
    No server listens any more: dead, with and without --ready.
    """
    flower.process.kill()
    flower.process.wait()

    for options in ([], ["--ready"]):
        code, said = flower.health(*options)
        assert 1 == code
        assert f"flower: dead: no answer from 127.0.0.1:{flower.port}/watch/healthcheck" in said
