"""
A name server that answers when many ask at once: `python -m tests.support.name_server N`.

It holds the questions for names until N names are asked for, or no more questions
come, and then answers them all. Each time it prints how many names waited.
"""

import socket
import sys
from typing import Final

#: Seconds without a question until those that are held are answered.
PATIENCE: Final = 5.0

ADDRESS: Final = bytes([127, 0, 0, 1])


def answer(question: bytes) -> bytes:
    """Return the answer to a *question* for one name: an address, whatever is asked."""
    header = question[:2] + b"\x81\x80" + b"\0\1\0\1\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1" + (0).to_bytes(4) + (4).to_bytes(2) + ADDRESS
    return header + asked(question) + record


def asked(question: bytes) -> bytes:
    """Return the name that is asked for, with its type and class."""
    end = question.index(b"\0", 12)
    return question[12 : end + 5]


def main(most: int) -> None:
    """Serve until the process is ended."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    server.bind(("127.0.0.1", 53))
    print("ready", flush=True)
    held: dict[bytes, tuple[bytes, object]] = {}
    while True:
        server.settimeout(PATIENCE if held else None)
        try:
            question, sender = server.recvfrom(4096)
            held[asked(question)] = question, sender
        except TimeoutError:
            pass
        else:
            if len(held) < most:
                continue
        print(len(held), flush=True)
        for each, asker in held.values():
            server.sendto(answer(each), asker)  # type: ignore[arg-type]
        held.clear()


if __name__ == "__main__":
    main(int(sys.argv[1]))
