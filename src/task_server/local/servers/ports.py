"""Whether a TCP port of this machine is free, and which one is."""

import socket

from task_server.errors import LocalServerError

#: Ports that are tried in a row.
_TRIED = 200


def check_free(port: int, who: str, address: str = "127.0.0.1") -> None:
    """
    Raise unless *who* can listen on *port* of *address*.

    Raises:
        LocalServerError: The port is in use, or may not be used.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do; otherwise connections in TIME_WAIT would count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise LocalServerError(
                f"{who} cannot listen on {address}:{port}: {error.strerror or error}; "
                "stop the program that uses the port, or choose another."
            ) from error


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port of *address* that is free at this moment."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def next_free_port(port: int, address: str = "127.0.0.1") -> int:
    """Return the first free port of *address* from *port* on, or any where none of many is."""
    for one in range(port, min(port + _TRIED, 65536)):
        try:
            check_free(one, "", address)
        except LocalServerError:
            continue
        return one
    return free_port(address)
