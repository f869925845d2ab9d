"""One page of a service on this machine; `http.client` imports email and TLS for that."""

import socket
import time

#: Read of an answer, head included.
MAX_BYTES = 1 << 20


def get(host: str, port: int, path: str, seconds: float) -> tuple[int, bytes]:
    """
    Return the status and the body of *path*.

    Raises:
        TimeoutError: When it has not all come within *seconds*.
        OSError: When nobody answers.
        ValueError: When the answer is not HTTP.
    """
    ends = time.monotonic() + seconds
    named = f"[{host}]" if ":" in host else host
    head = f"GET {path} HTTP/1.0\r\nHost: {named}:{port}\r\nConnection: close\r\n\r\n"
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
