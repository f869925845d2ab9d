"""
One running child: its process, and the threads that turn its output and its end
into events for the supervisor.
"""

import contextlib
import os
import queue
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from task_server.local.supervisor.child import NOTIFY, Child

#: Longer lines are split. Bytes.
MAX_LINE = 64 * 1024

#: Lines kept for error messages.
LAST_LINES = 20

#: How long processes that a dead child leaves may keep its output open. Seconds.
_OUTPUT_GRACE = 0.5

SPAWN = str(Path(__file__).with_name("spawn.py"))


def spawn_command(child: Child) -> list[str]:
    """Return the command line that starts *child* through `spawn.py`."""
    parent, death = str(os.getpid()), str(int(child.death_signal))
    return [sys.executable, "-I", "-S", SPAWN, parent, death, child.run_as, *child.argv]


@dataclass(frozen=True, slots=True)
class Line:
    """*process* wrote *text*; *stream* is ``stdout`` or ``stderr``."""

    process: "Process"
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """*process* sent READY=1."""

    process: "Process"


@dataclass(frozen=True, slots=True)
class Exited:
    """*process* ended; the events of its lines came before."""

    process: "Process"


@dataclass(frozen=True, slots=True)
class Signalled:
    """The supervisor received the signal *number*."""

    number: int


@dataclass(frozen=True, slots=True)
class Call:
    """Another thread wants *run* to be called in the supervisor's."""

    run: Callable[[], None]


Event = Line | Ready | Exited | Signalled | Call
Events = queue.SimpleQueue[Event]


class Process:
    """
    A started child, in a process group of its own.

    Start it from a thread that lives as long as the supervisor: to the kernel,
    the parent ends with the thread that forked.
    """

    def __init__(self, child: Child, events: Events) -> None:
        self.child = child
        self.ready = child.ready is None
        self.returncode: int | None = None
        #: Whether its stop signal was sent. A worker takes a second one for haste.
        self.stopping = False
        #: Seconds since the epoch.
        self.started = time.time()
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._events = events
        self._pattern = re.compile(child.ready) if isinstance(child.ready, str) else child.ready
        self._notify: socket.socket | None = None
        environ = dict(child.environ)
        environ.pop("NOTIFY_SOCKET", None)
        if child.ready is NOTIFY:
            self._notify, environ["NOTIFY_SOCKET"] = _notify_socket()
        separate = child.on_stdout is not None or child.on_stderr is not None
        try:
            self._popen = subprocess.Popen(
                spawn_command(child),
                env=environ,
                cwd=child.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if separate else subprocess.STDOUT,
                process_group=0,
            )
        except OSError:
            self._end_notify()
            raise
        self.pid = self._popen.pid
        self._readers = [
            self._thread(self._read, pipe, stream)
            for pipe, stream in ((self._popen.stdout, "stdout"), (self._popen.stderr, "stderr"))
            if pipe is not None
        ]
        if self._notify is not None:
            self._thread(self._listen, self._notify)
        self._waiter = self._thread(self._wait)

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as the supervisor has seen."""
        return self.returncode is None

    def _thread(self, target: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, name=self.child.name, daemon=True)
        thread.start()
        return thread

    def _read(self, pipe: IO[bytes], stream: str) -> None:
        """Turn the bytes of *pipe* into lines, until all its writers have closed it."""
        with pipe:
            while raw := pipe.readline(MAX_LINE):
                text = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
                self._events.put(Line(self, stream, text))

    def _listen(self, notify: socket.socket) -> None:
        """Wait for READY=1, or for the empty datagram of `_end_notify`."""
        with notify:
            while datagram := notify.recv(4096):
                if b"READY=1" in datagram.split(b"\n"):
                    self._events.put(Ready(self))

    def _end_notify(self) -> None:
        if self._notify is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self._notify.getsockname())
        self._notify = None

    def _wait(self) -> None:
        """Report the end of the process, after its last lines."""
        self._popen.wait()
        for reader in self._readers:
            reader.join(_OUTPUT_GRACE)
        self._end_notify()
        self._events.put(Exited(self))

    def record(self, line: Line) -> bool:
        """Keep *line*; return whether it says that the process is ready now."""
        self.last_lines.append(line.text)
        pattern = self._pattern
        if self.ready or not isinstance(pattern, re.Pattern):
            return False
        return pattern.search(line.text) is not None

    def reap(self) -> int:
        """Record the end; returns the exit code, negative for a signal."""
        self.returncode = self._popen.wait()
        return self.returncode

    def send(self, number: signal.Signals) -> None:
        """Send the signal *number* to the process alone, not to its group."""
        if self.alive:
            self._popen.send_signal(number)

    def stop(self) -> None:
        """Send its stop signal, once."""
        if not self.stopping:
            self.stopping = True
            self.send(self.child.stop_signal)

    def kill_group(self) -> None:
        """Kill the process and all that is left of its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def _notify_socket() -> tuple[socket.socket, str]:
    """
    Return a new datagram socket, and its address as NOTIFY_SOCKET has it.

    On Linux it has an abstract address, which leaves nothing on the disk when
    the supervisor is killed; its name cannot be guessed.
    """
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    token = f"task-server-{os.getpid()}-{secrets.token_hex(8)}"
    if sys.platform == "linux":
        notify.bind(f"\0{token}")
        return notify, f"@{token}"
    address = f"/tmp/{token}"  # noqa: S108
    notify.bind(address)
    Path(address).chmod(0o600)
    return notify, address
