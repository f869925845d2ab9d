"""Whether a TCP port of this machine is free."""

import socket

from task_server.errors import LocalServerError


def check_free(port: int, who: str) -> None:
    """
    Raise unless *who* can listen on *port* of 127.0.0.1.

    Raises:
        LocalServerError: The port is in use, or may not be used.
    """
    with socket.socket() as probe:
        # As servers do; else a connection that has just ended counts as use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalServerError(
                f"{who} cannot listen on 127.0.0.1:{port}: {error.strerror or error}; "
                "stop who uses the port, or choose another."
            ) from error
