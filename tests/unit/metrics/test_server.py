"""The server and its pages: what is asked, by whom, and how slowly."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from urllib.parse import quote

import pytest

from task_server.metrics import server as module
from task_server.metrics.looks import Looks
from task_server.metrics.pages import Pages
from task_server.metrics.server import MOST, Server
from task_server.monitor.model import Snapshot
from tests.support.snapshots import queue, snapshot
from tests.support.wait import PATIENCE, until

ODD = "a/b ü\n?#%"


class Broker:
    """Whether it answers, and with what."""

    def __init__(self) -> None:
        self.found = snapshot(queue("celery"), queue(ODD))
        self.error: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()

    def take(self) -> Snapshot:
        assert self.answers.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return self.found


@pytest.fixture
def broker() -> Iterator[Broker]:
    one = Broker()
    yield one
    one.answers.set()


@pytest.fixture
def server(broker: Broker) -> Iterator[Server]:
    """A server that runs, whose looks are never shared."""
    pages = Pages(Looks(broker.take, str, 0.0), {"prefork": ("celery",)})
    with Server("127.0.0.1", 0, pages.get) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=PATIENCE)


def ask(server: Server, path: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
    with closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())


def test_a_scrape(server: Server) -> None:
    """
    Text of Prometheus, which no cache keeps.
    """
    status, body, headers = ask(server, "/metrics?name=x")

    assert 200 == status
    assert b'celery_queue_length{queue_name="celery"} 2.0' in body
    assert b"task_server_up 1.0" in body
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert "no-store" == headers["Cache-Control"]


def test_a_queue_and_a_worker(server: Server) -> None:
    """
    The load is a plain number, under a name of any characters.
    """
    answers = [ask(server, path) for path in ("/queues/celery", "/workers/prefork")]
    odd = ask(server, f"/queues/{quote(ODD, safe='')}")

    assert [(200, 2), (200, 2), (200, 2)] == [
        (status, json.loads(body)["load"]) for status, body, _ in (*answers, odd)
    ]
    assert ODD == json.loads(odd[1])["queue"]
    assert type(json.loads(answers[0][1])["load"]) is int


def test_unknown_names_and_paths(server: Server) -> None:
    """
    404, with the names that are alike or the paths that there are.
    """
    typo = ask(server, "/queues/celry")
    worker = ask(server, "/workers/perfork")
    paths = ["/", "/queues", "/queues/", "/workers/", "/metrics/", "//", "/http://[", "/queues/%ff"]
    others = [ask(server, path)[0] for path in paths]

    assert (404, ["celery"]) == (typo[0], json.loads(typo[1])["did_you_mean"])
    assert (404, ["prefork"]) == (worker[0], json.loads(worker[1])["did_you_mean"])
    assert [404] * len(paths) == others
    assert "/healthz" in json.loads(ask(server, "/")[1])["paths"]


def test_redis_is_absent(server: Server, broker: Broker) -> None:
    """
    Nothing that was known is shown; autoscalers fall back; the process is well.
    """
    ask(server, "/metrics")
    broker.error = OSError("refused")
    status, body, _ = ask(server, "/metrics")
    demands = [ask(server, path) for path in ("/queues/celery", "/workers/prefork")]
    health = ask(server, "/healthz")

    assert 200 == status
    assert b"task_server_up 0.0" in body
    assert b"celery_" not in body
    assert [503, 503] == [one[0] for one in demands]
    assert "refused" == json.loads(demands[0][1])["error"]
    assert "5" == demands[0][2]["Retry-After"]
    assert 200 == health[0]
    assert {"answers": False, "reason": "refused"} == json.loads(health[1])["redis"]


def test_redis_hangs(server: Server, broker: Broker) -> None:
    """
    The same, and each answer comes all the same; when it goes on, so do the numbers.
    """
    broker.answers.clear()
    status, body, _ = ask(server, "/metrics")
    unavailable = ask(server, "/queues/celery")
    health = ask(server, "/healthz")
    broker.answers.set()

    assert 200 == status
    assert b"task_server_up 0.0" in body
    assert 503 == unavailable[0]
    assert "within 1.5 s" in json.loads(unavailable[1])["error"]
    assert json.loads(health[1])["redis"]["answers"] is False
    until(lambda: b"task_server_up 1.0" in ask(server, "/metrics")[1])


def test_a_defect_is_an_answer_and_the_next_one_works(
    server: Server, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    500, and its traceback is in the log alone.
    """
    found, broker.found = broker.found, None  # type: ignore[assignment]
    server.get = lambda _: 1 / 0  # type: ignore[assignment, return-value]
    failed = ask(server, "/metrics")

    assert 500 == failed[0]
    assert b"Traceback" not in failed[1]
    assert "ZeroDivisionError" in caplog.text
    assert found is not None


def test_other_methods(server: Server) -> None:
    """
    HEAD is GET without a body; nothing can be changed.
    """
    head, get = ask(server, "/metrics", "HEAD"), ask(server, "/metrics")
    refused = [ask(server, "/metrics", one) for one in ("POST", "PUT", "DELETE", "OPTIONS")]

    assert (200, b"") == head[:2]
    assert head[2]["Content-Type"] == get[2]["Content-Type"]
    assert int(head[2]["Content-Length"]) > 100
    assert [(405, "GET, HEAD")] * 4 == [(one[0], one[2]["Allow"]) for one in refused]
    assert 501 == ask(server, "/metrics", "BREW")[0]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /queues/" + b"%0a" * 15_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\r\n",
    ],
    ids=["path", "name", "headers", "version", "TLS", "nothing"],
)
def test_whatever_is_sent_harms_nobody(server: Server, sent: bytes) -> None:
    """
    It is refused or closed, and the next one is answered.
    """
    with connect(server) as one, suppress(ConnectionError):
        one.sendall(sent)
        answer = one.makefile("rb").readline()
        assert b" 200 " not in answer

    assert 200 == ask(server, "/metrics")[0]


def test_clients_that_ask_slowly_are_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One that sends nothing, and one that sends a byte now and then.
    """
    monkeypatch.setattr(module, "SECONDS", 0.2)
    stop = threading.Event()
    with connect(server) as silent, connect(server) as slow:
        ended = threading.Event()

        def trickle() -> None:
            with suppress(OSError):
                while not stop.wait(0.02):
                    slow.sendall(b"a")
            ended.set()

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with suppress(ConnectionError):
                assert b"" == silent.recv(10)
            assert ended.wait(PATIENCE)
            assert not stop.is_set()
        finally:
            stop.set()
            thread.join()
    until(lambda: not server._ends)


def test_connections_are_bounded(server: Server) -> None:
    """
    One more than that is closed, until another has ended.
    """
    with ExitStack() as stack:
        for _ in range(MOST):
            stack.enter_context(connect(server))
        until(lambda: len(server._ends) == MOST)
        with connect(server) as refused, suppress(ConnectionError):
            assert b"" == refused.recv(10)
        assert MOST == len(server._ends)
    until(lambda: not server._ends)

    assert 200 == ask(server, "/metrics")[0]
