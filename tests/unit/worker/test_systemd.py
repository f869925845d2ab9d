"""The worker's notifications to systemd, received on a real socket."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from task_server.worker.status.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, str]]:
    """A socket as systemd opens it, and its name in NOTIFY_SOCKET."""
    with tempfile.TemporaryDirectory(prefix="ts") as folder:
        name = str(Path(folder, "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.settimeout(5)
            one.bind(name if request.param == "path" else f"\0{name}")
            yield one, name if request.param == "path" else f"@{name}"


def test_each_word_arrives(listener: tuple[socket.socket, str]) -> None:
    """
    READY, STATUS, WATCHDOG and STOPPING are sent as sd_notify(3) has them.
    """
    receiver, name = listener
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000"})
    notifier.ready()
    notifier.status("2 running")
    notifier.status("2 running")
    notifier.alive()
    notifier.stopping()

    said = [receiver.recv(4096).decode() for _ in range(4)]

    assert ["READY=1", "STATUS=2 running", "WATCHDOG=1", "STOPPING=1"] == said
    assert 3.0 == notifier.watchdog


def test_the_variables_are_taken_away() -> None:
    """
    A task cannot speak for the worker.
    """
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    Notifier(environ)

    assert {"PATH": "/bin"} == environ


@pytest.mark.parametrize(
    ("pid", "seconds"),
    [(str(os.getpid()), 5.0), ("1", None), (None, 5.0)],
    ids=["ours", "another", "unset"],
)
def test_a_watchdog_for_another_process_is_not_ours(pid: str | None, seconds: float | None) -> None:
    """
    WATCHDOG_PID says who is watched, if it is there.
    """
    environ = {"WATCHDOG_USEC": "5000000"}
    if pid is not None:
        environ["WATCHDOG_PID"] = pid

    assert seconds == Notifier(environ).watchdog


def test_a_listener_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """
    The worker goes on without systemd.
    """
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})

    notifier.ready()
