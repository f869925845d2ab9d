"""
A DNS server that knows every name, after a while: each is 127.0.0.1.

    python dns_server.py MILLISECONDS

It listens on port 53 of 127.0.0.1, and prints that when it does.
"""

import asyncio
import socket
import struct
import sys
from typing import Any

PORT = 53
_ADDRESS = 1
_HEADER = 12


def answer_to(question: bytes) -> bytes:
    """Return the answer to a query: an address, or that there is none of another kind."""
    end = question.index(b"\0", _HEADER) + 5
    (kind,) = struct.unpack("!H", question[end - 4 : end - 2])
    found = kind == _ADDRESS
    head = question[:2] + struct.pack("!HHHHH", 0x8580, 1, found, 0, 0)
    # A pointer to the name, class IN, a minute to live.
    record = struct.pack("!HHHIH", 0xC00C, _ADDRESS, 1, 60, 4) + socket.inet_aton("127.0.0.1")
    return head + question[_HEADER:end] + (record if found else b"")


class Late(asyncio.DatagramProtocol):
    """Answers each query *seconds* later."""

    seconds = 0.05

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = answer_to(data)
        asyncio.get_running_loop().call_later(self.seconds, self._transport.sendto, answer, addr)


async def main() -> None:
    """Serve until the process is ended."""
    Late.seconds = float(sys.argv[1]) / 1000
    # A worker asks for hundreds of names at once.
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    listening.bind(("127.0.0.1", PORT))
    await asyncio.get_running_loop().create_datagram_endpoint(Late, sock=listening)
    print(PORT, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
