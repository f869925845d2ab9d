"""
The socket of an `up`: requests are read in a thread each, and handled where it wants.

A client that is slow, silent or hostile keeps its own thread, of which there are few,
for a short time; the supervisor never waits for one.
"""

import contextlib
import queue
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from task_server.local.control.peer import is_ours
from task_server.local.control.protocol import MAX_REQUEST, BadRequestError, Request, encode
from task_server.local.servers.state import explain

#: Connections at a time; a further one is told so.
MOST_CONNECTIONS = 32

#: How long a client has for its request, and for taking each answer. Seconds.
_CLIENT_SECONDS = 10.0

#: How often a connection without answers is looked at: its client may be gone. Seconds.
_LOOK_SECONDS = 0.5

#: How long answers that are on their way hold up the end. Seconds.
_FLUSH_SECONDS = 2.0


class Reply:
    """The answers to one request; they may be given by any thread."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.open = True

    def send(self, event: str, **fields: Any) -> None:
        """Answer with *event*, and go on."""
        self._answers.put({"event": event, **fields})

    def end(self, **fields: Any) -> None:
        """Give the last answer."""
        self.send("end", **fields)
        self._answers.put(None)

    def fail(self, message: str) -> None:
        """Give the last answer: an error."""
        self.send("error", message=message)
        self._answers.put(None)

    def next(self, seconds: float) -> dict[str, Any] | None:
        """
        Return the next answer, or None after the last one.

        Raises:
            queue.Empty: There is none for *seconds*.
        """
        return self._answers.get(timeout=seconds)


class ControlServer:
    """
    Listens at *path* between `__enter__` and `__exit__`.

    Whoever makes one has the lock of the state folder, so a socket that lies there is
    that of an `up` which was killed.

    Args:
        handle: Is called with each request, in the thread of its connection.
    """

    def __init__(self, path: Path, handle: Callable[[Request, Reply], None]) -> None:
        self._path = path
        self._handle = handle
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._threads: set[threading.Thread] = set()

    def __enter__(self) -> Self:
        try:
            self._path.unlink(missing_ok=True)
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError as error:
            self._socket.close()
            raise explain(error, self._path) from error
        self._socket.listen(MOST_CONNECTIONS)
        threading.Thread(target=self._accept, name="control", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        # Not close alone: accept would go on in its thread.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in list(self._threads):
            thread.join(_FLUSH_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._socket.fileno() < 0 or not self._path.exists():
                    return
                continue
            if len(self._threads) >= MOST_CONNECTIONS:
                _refuse(connection, "too many commands at once; try again")
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.add(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            # A client that is gone, or too slow, is no concern of ours.
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_CLIENT_SECONDS)
                if not is_ours(connection):
                    _refuse(connection, "this `up` is another user's")
                    return
                try:
                    request = Request.decode(_read_line(connection))
                except BadRequestError as error:
                    _refuse(connection, f"the request cannot be read: {error}")
                    return
                connection.sendall(encode({"event": "accepted"}))
                reply = Reply()
                self._handle(request, reply)
                _answer(connection, reply)
        finally:
            self._threads.discard(threading.current_thread())


def _read_line(connection: socket.socket) -> bytes:
    """
    Return the first line of *connection*.

    Raises:
        BadRequestError: It is too long, or does not end.
    """
    line = b""
    while b"\n" not in line:
        chunk = connection.recv(4096)
        if not chunk:
            raise BadRequestError("it has no end")
        line += chunk
        if len(line) > MAX_REQUEST:
            raise BadRequestError(f"it is longer than {MAX_REQUEST} bytes")
    return line.partition(b"\n")[0]


def _answer(connection: socket.socket, reply: Reply) -> None:
    """Send the answers of *reply* until the last one, or until the client is gone."""
    while True:
        try:
            fields = reply.next(_LOOK_SECONDS)
        except queue.Empty:
            if _is_gone(connection):
                reply.open = False
                return
            continue
        if fields is None:
            return
        connection.sendall(encode(fields))


def _is_gone(connection: socket.socket) -> bool:
    # Not by MSG_DONTWAIT alone: Python waits first, for the time of the socket.
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and not connection.recv(1, socket.MSG_PEEK)


def _refuse(connection: socket.socket, message: str) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(_CLIENT_SECONDS)
        connection.sendall(encode({"event": "error", "message": message}))
