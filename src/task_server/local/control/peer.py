"""Who is at the other end of a Unix socket."""

import os
import socket
import struct

_CREDENTIALS = struct.Struct("iii")


def is_ours(connection: socket.socket) -> bool:
    """
    Return whether the peer of *connection* is this user, or root.

    Where the system does not say (macOS), the private folder of the socket has decided.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    raw = connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return uid in (os.getuid(), 0)
