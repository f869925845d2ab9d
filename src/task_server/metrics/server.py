"""The HTTP server: a thread a connection, some at most, each for some seconds."""

import logging
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final

from task_server.metrics.pages import Answer, failed, not_allowed

logger: Final = logging.getLogger(__name__)

#: Connections at once; more are closed.
MOST: Final = 32

#: Seconds within which one has asked, and has taken its answer.
SECONDS: Final = 10.0

Get = Callable[[str], Answer]


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: "Server"
    server_version = "task-server"
    sys_version = ""
    #: Between two bytes.
    timeout = SECONDS

    def do_GET(self) -> None:
        """Answer with headers and body."""
        self._answer(self._found(), with_body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers alone."""
        self._answer(self._found(), with_body=False)

    def do_POST(self) -> None:
        """Refuse: nothing can be changed."""
        self._answer(not_allowed(), with_body=True)

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 - its names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its signature
        """Keep the requests out of the log."""
        logger.debug("metrics: %s: %s", self.address_string(), format % args)

    def _found(self) -> Answer:
        try:
            return self.server.get(self.path)
        except Exception:
            logger.exception("metrics: %.200r cannot be answered", self.path)
            return failed()

    def _answer(self, answer: Answer, *, with_body: bool) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)


class Server(ThreadingHTTPServer):
    """
    Listens on *address* and *port*, and answers with what *get* returns for a path.

    Raises:
        OSError: When it cannot listen there.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: str, port: int, get: Get) -> None:
        self.get = get
        self._ends: dict[Any, float] = {}
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Handler)

    def server_bind(self) -> None:
        """Bind, without asking what the address is called: a resolver may hang."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there are not too many."""
        if len(self._ends) >= MOST:
            logger.debug("metrics: %d connections are open: one more is closed", MOST)
            self.shutdown_request(request)
            return
        self._ends[request] = time.monotonic() + SECONDS
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._ends.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End connections that take too long, however much they send; each half second."""
        now = time.monotonic()
        for request, end in list(self._ends.items()):
            if now > end:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - its signature
        """Log what ended a connection: most often that it was closed."""
        logger.debug("metrics: %s: %s", client_address, sys.exc_info()[1])
