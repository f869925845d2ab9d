"""A relay between a worker and its Redis, whose connections can be frozen."""

import selectors
import socket
import threading
from types import TracebackType
from typing import Self


class Relay:
    """
    A port of loopback that passes on to *target*, until it is stopped.

    A frozen connection stays open and passes nothing, as behind a firewall
    that has forgotten it; new ones work.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ, None)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._end, self._ended = socket.socketpair()
        self._selector.register(self._ended, selectors.EVENT_READ, None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.send(b".")
        self._thread.join()
        for connection in [*self._open, self._server, self._end, self._ended]:
            connection.close()
        self._selector.close()

    def freeze(self) -> None:
        """Pass nothing more on the connections that there are now."""
        with self._lock:
            for key in list(self._selector.get_map().values()):
                if key.data is not None:
                    self._selector.unregister(key.fileobj)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select(0.2):
                with self._lock:
                    if key.fileobj is self._ended:
                        return
                    if key.fileobj is self._server:
                        self._accept()
                    elif key.fd in self._selector.get_map():
                        self._pass(key.fileobj, key.data)  # type: ignore[arg-type]

    def _accept(self) -> None:
        client, _ = self._server.accept()
        redis = socket.create_connection(("127.0.0.1", self._target))
        for one, other in ((client, redis), (redis, client)):
            self._open.add(one)
            self._selector.register(one, selectors.EVENT_READ, other)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            data = source.recv(65536)
            if data:
                sink.sendall(data)
                return
        except OSError:
            pass
        for one in (source, sink):
            if one in self._open:
                self._open.remove(one)
                if one.fileno() in self._selector.get_map():
                    self._selector.unregister(one)
                one.close()
