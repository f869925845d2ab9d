"""Sentry's SDK works in our workers as in Celery's."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from celery import Celery

from tests.support.wait import until
from tests.support.worker import POOLS, Worker


class Sentry:
    """A server that takes Sentry's envelopes, and keeps their items."""

    def __init__(self, port: int) -> None:
        self.dsn = f"http://key@127.0.0.1:{port}/1"
        self.items: list[dict[str, Any]] = []

    def take(self, envelope: bytes) -> None:
        """Keep the items of *envelope*: lines of JSON, each after one that describes it."""
        for line in envelope.splitlines():
            value = json.loads(line)
            if isinstance(value, dict):
                self.items.append(value)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the transactions, or the errors."""
        key = {"transaction": "transaction", "error": "exception"}[kind]
        ends = "spans" if kind == "transaction" else "exception"
        return [one for one in list(self.items) if key in one and ends in one]


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    """A server of this test alone."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            one.take(gzip.decompress(body) if packed else body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        one = Sentry(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield one
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("pool", POOLS)
def test_an_error_and_its_trace_reach_sentry(
    pool: str, sentry: Sentry, start: Callable[..., Worker], app: Celery
) -> None:
    """
    The error says which task it was; the task that called it is in the same trace.
    """
    worker = start(pool, app="reporting", environ={"REPORTING_DSN": sentry.dsn}).ready()
    app.send_task("reporting.outer")

    (error,) = until(lambda: sentry.of_kind("error"))
    done = until(
        lambda: (
            {one["transaction"]: one for one in sentry.of_kind("transaction")}
            if len(sentry.of_kind("transaction")) == 2
            else None
        )
    )

    assert "ValueError" == error["exception"]["values"][-1]["type"]
    assert "reporting.failing" == error["extra"]["celery-job"]["task_name"]
    assert {"reporting.outer", "reporting.failing"} == set(done)
    traces = {one["contexts"]["trace"]["trace_id"] for one in [error, *done.values()]}
    assert 1 == len(traces)
    assert worker.alive()
