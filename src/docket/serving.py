"""A small HTTP server for local files: exactly those it is given, to this machine only."""

import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote


class _Server(ThreadingHTTPServer):
    # Hundreds of fetches may call at the same moment; the default is 5.
    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a worker that hangs up in the middle will try again."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # A worker keeps the connection for its next file, but not forever.
    timeout = 60
    # Otherwise the end of a file waits for the reader's delayed acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Send the file whose path was asked for, and no other."""
        path = self.server.files.get(self.path)
        try:
            file = path.open("rb") if path is not None else None
        except OSError:
            file = None
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/pdf")
            self.send_header("Content-Length", str(file.seek(0, 2)))
            self.end_headers()
            file.seek(0)
            shutil.copyfileobj(file, self.wfile)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: the job has the result."""


@contextmanager
def served(paths: Iterable[Path]) -> Iterator[dict[Path, str]]:
    """
    Serve the files *paths* meanwhile; yield the URL of each.

    The URLs have a random part, so that other users of this machine do not
    find files that only this one may read.
    """
    token = secrets.token_urlsafe(16)
    routes = {
        path: f"/{token}/{number}/{quote(path.name)}"
        for number, path in enumerate(dict.fromkeys(paths), start=1)
    }
    with _Server({route: path for path, route in routes.items()}) as server:
        thread = Thread(target=server.serve_forever, name="docket-serving", daemon=True)
        thread.start()
        host = f"http://127.0.0.1:{server.server_port}"
        try:
            yield {path: host + route for path, route in routes.items()}
        finally:
            server.shutdown()
            thread.join()
