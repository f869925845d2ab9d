"""What the health check of the metrics says of whatever answers at their port."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import pytest

from task_server.config.model import Config
from task_server.config.tables import MetricsConfig
from task_server.health import metrics
from task_server.health.verdict import Verdict
from task_server.launch.timing import DEFAULT_TIMING
from task_server.metrics.pages import Answer
from task_server.metrics.server import Server
from tests.support.ports import own_port


def check(port: int, *, ready: bool = True, address: str = "127.0.0.1") -> Verdict:
    """Return the verdict on the metrics at *port*."""
    table = MetricsConfig(port=port, address=address)
    return metrics.check(Config(metrics=table), "metrics", {}, ready=ready, timing=DEFAULT_TIMING)


@contextmanager
def answering(body: object, status: HTTPStatus = HTTPStatus.OK) -> Iterator[int]:
    """Answer every path with *body*; return the port."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with Server("127.0.0.1", 0, lambda _: Answer(status, text)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_nobody_listens() -> None:
    """
    The line names where they were looked for: on loopback, if they listen everywhere.
    """
    port = own_port()
    verdict = check(port, address="0.0.0.0")

    assert not verdict.alive
    assert verdict.reason.startswith(f"no answer from 127.0.0.1:{port} (")


def test_a_port_that_the_kernel_chose_is_not_known() -> None:
    """
    They can be anywhere, and the line says what to do.
    """
    assert "metrics.port is 0" in check(0).reason


def test_redis_does_not_answer_them() -> None:
    """
    Alive, since a restart would not help; not ready, with the reason.
    """
    redis = {"answers": False, "reason": "nothing listens at db:6379"}
    with answering({"status": "ok", "redis": redis}) as port:
        both = check(port, ready=True), check(port, ready=False)

    assert [(True, False), (True, True)] == [(one.alive, one.ready) for one in both]
    assert "nothing listens at db:6379" == both[0].reason


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", [], 7, {"redis": 5}, {"redis": {}}, {}, b"[" * 100_000]
)
def test_something_else_answers(body: object) -> None:
    """
    It is not ready, whatever it says.
    """
    with answering(body) as port:
        assert not check(port).ready


def test_they_fail() -> None:
    """
    The status is told.
    """
    with answering({}, HTTPStatus.INTERNAL_SERVER_ERROR) as port:
        assert f"127.0.0.1:{port} answers with 500" == check(port).reason


def test_a_listener_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It is given up in time.
    """
    monkeypatch.setattr(metrics, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert f"no answer from 127.0.0.1:{port} within 0.2 s" == check(port).reason
