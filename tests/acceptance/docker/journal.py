"""The journal of this machine, in which the stack's workers log."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

JOURNAL = Path("/run/systemd/journal")

#: Runs journalctl with more arguments, and returns what it prints as objects.
Journal = Callable[..., list[dict[str, str]]]


def journald_listens() -> bool:
    """Whether there is a journal."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        return client.connect_ex(str(JOURNAL / "socket")) == 0


def lines(text: str) -> list[dict[str, str]]:
    """Return the objects that journalctl has printed, one a line."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
