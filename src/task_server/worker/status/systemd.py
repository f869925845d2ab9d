"""Notifies systemd (sd_notify(3)), or another listener on NOTIFY_SOCKET."""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress


class Notifier:
    """
    The socket that *environ* names; without one, everything here does nothing.

    The variables are removed, so that no task, and no program that a task starts,
    can notify in the worker's name.

    Attributes:
        watchdog: Seconds within which systemd expects a notification; None if it
            expects none.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        for_us = pid in ("", str(os.getpid()))
        self.watchdog = int(microseconds) / 1e6 if for_us and microseconds.isdigit() else None
        # A leading @ stands for the zero byte of an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._last_status = ""

    def ready(self) -> None:
        """Notify that the worker consumes."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Notify that the worker is stopping."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        if self.watchdog is not None:
            self._send("WATCHDOG=1")

    def status(self, line: str) -> None:
        """Send *line* as the status, if it has changed."""
        if line != self._last_status:
            self._last_status = line
            self._send(f"STATUS={line}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A listener that is gone or does not read must not block the loop.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode(), self._address)
