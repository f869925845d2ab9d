"""What Flower's health check says when there is no Flower."""

import socket

import pytest

from task_server.config.model import Config
from task_server.config.tables import FlowerConfig
from task_server.health import command as health
from task_server.health import flower
from task_server.health.verdict import Verdict
from task_server.launch.timing import DEFAULT_TIMING
from tests.support.ports import own_port


def check(table: FlowerConfig) -> Verdict:
    """Return the verdict on the Flower of *table*, without asking the broker."""
    return flower.check(Config(flower=table), "flower", {}, ready=False, timing=DEFAULT_TIMING)


def test_no_server_listens(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The line names where Flower was looked for, with its prefix, and the exit code is 1.
    """
    port = own_port()
    environ = {
        "TASK_SERVER_FLOWER_PORT": str(port),
        "TASK_SERVER_FLOWER_ADDRESS": "0.0.0.0",
        "TASK_SERVER_FLOWER_URL_PREFIX": "/flower/",
    }

    code = health.main(["flower"], environ)

    said = capsys.readouterr().out
    assert 1 == code
    assert f"flower: dead: no answer from 127.0.0.1:{port}/flower/healthcheck" in said
    assert "refused" in said


def test_a_port_that_the_kernel_chose_is_not_known() -> None:
    """
    Flower at port 0 can be anywhere, and the line says what to do.
    """
    verdict = check(FlowerConfig(port=0))

    assert not verdict.alive
    assert "flower.port is 0" in verdict.reason


def test_something_else_than_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A listener that says nothing is given up in time, and it is reported.
    """
    monkeypatch.setattr(flower, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        verdict = check(FlowerConfig(port=port))

    assert (False, False) == (verdict.alive, verdict.ready)
    assert f"no answer from 127.0.0.1:{port}/healthcheck within 0.2 s" == verdict.reason
