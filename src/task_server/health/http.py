"""One page of a service on this machine; `http.client` imports email and TLS for that."""

import socket
import time

#: Bytes that are read of an answer, head included.
MAX_BYTES = 1 << 20


def reachable(address: str) -> str:
    """Return the host to connect to: loopback if a service listens on every *address*."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared


def authority(host: str, port: int) -> str:
    """Return *host* and *port* as URLs have them: 127.0.0.1:5555, [::1]:5555."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def get(host: str, port: int, path: str, seconds: float) -> tuple[int, bytes]:
    """
    Return the status and the body of *path*.

    Args:
        seconds: For the connection and the answer together.

    Raises:
        TimeoutError: When it has not all come within *seconds*.
        OSError: When there is no connection, or it is lost.
        ValueError: When the answer is not HTTP.
    """
    ends = time.monotonic() + seconds
    named = authority(host, port)
    head = f"GET {path} HTTP/1.0\r\nHost: {named}\r\nConnection: close\r\n\r\n"
    data = b""
    with socket.create_connection((host, port), seconds) as connection:
        connection.sendall(head.encode("ascii", "replace"))
        while len(data) < MAX_BYTES:
            connection.settimeout(max(0.001, ends - time.monotonic()))
            if not (more := connection.recv(65_536)):
                break
            data += more
    start, _, body = data.partition(b"\r\n\r\n")
    words = start.partition(b"\r\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():  # noqa: PLR2004
        raise ValueError("it does not answer in HTTP")
    return int(words[1]), body
