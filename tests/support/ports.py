"""
Ports of loopback for servers that a test starts, stops and starts again.

A port that the kernel chooses is free when it is chosen. Any client of any test may
get it as its own end of a connection before the server listens, or while it is down;
the server cannot listen then. A client that keeps trying to reach the port may even
connect to itself.
"""

import random
import socket
import sys
from pathlib import Path

#: Linux gives ports from the first of these on to clients.
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def own_port() -> int:
    """Return a port on which nothing listens, which no client and no other test gets."""
    for port in random.sample(range(10_240, _first_of_clients()), 1000):
        if _is_free(port) and _claim(port):
            return port
    raise OSError("a thousand ports are in use")


def _first_of_clients() -> int:
    try:
        first = int(_RANGE.read_text().split()[0])
    except FileNotFoundError:
        return 32_768
    # Where all are for clients there is none to keep.
    return first if first > 12_000 else 32_768


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _claim(port: int) -> bool:
    """Take the port's name among the abstract sockets, which end with their process."""
    if sys.platform != "linux":
        return True
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0task-server-tests-{port}")
        except OSError:
            return False
        # Open until this process ends.
        claim.detach()
    return True
