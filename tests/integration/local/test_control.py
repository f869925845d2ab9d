"""The socket of an `up`: what is asked, and what hostile or broken clients do to it."""

import json
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from task_server.errors import TaskServerError
from task_server.local import State
from task_server.local.control import client, server
from task_server.local.control.client import NoAnswerError, RunningUp
from task_server.local.control.protocol import MAX_ANSWER, MAX_REQUEST, Request
from task_server.local.control.server import ControlServer, Reply
from tests.support.wait import PATIENCE, until


def echo(request: Request, reply: Reply) -> None:
    reply.send("asked", do=request.do)
    reply.end(names=list(request.names))


@pytest.fixture
def folder(state: State) -> Path:
    return state.socket_folder()


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(tmp_path / "state")


@pytest.fixture
def control(folder: Path) -> Iterator[Path]:
    """Return the socket of a server that answers with what it was asked."""
    with ControlServer(folder / "up.sock", echo):
        yield folder / "up.sock"


def running(state: State, path: Path) -> RunningUp:
    return RunningUp(state, {"control": str(path), "pid": os.getpid(), "app": "cl"})


def raw(path: Path, data: bytes) -> list[dict[str, Any]]:
    """Send *data* and nothing more; return the answers."""
    with closing(socket.socket(socket.AF_UNIX)) as one:
        one.settimeout(PATIENCE)
        one.connect(str(path))
        text = b""
        # The server may have closed it before it has all.
        with suppress(OSError):
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while chunk := one.recv(65536):
                text += chunk
    return [json.loads(line) for line in text.splitlines()]


def test_a_request_is_accepted_and_answered(state: State, control: Path) -> None:
    """
    One line each: accepted, what there is to say, the end.
    """
    with running(state, control).stream("restart", "a", "b") as stream:
        answers = list(stream)

    assert [
        {"event": "asked", "do": "restart"},
        {"event": "end", "names": ["a", "b"]},
    ] == answers
    assert {"event": "end", "names": []} == running(state, control).ask("ps")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it has no end"),
        (b"{}", "it has no end"),
        (b"\n", "it is not JSON"),
        (b"\xff\xfe\n", "it is not JSON"),
        (b"[" * 60_000 + b"\n", "it is not JSON"),
        (b"[]\n", "it is not an object of JSON"),
        (b"{}\n", "`do` is none of"),
        (b'{"do": "__init__"}\n', "`do` is none of"),
        (b'{"do": ["ps"]}\n', "`do` is none of"),
        (b'{"do": "restart", "names": "prefork"}\n', "`names` is not a list of texts"),
        (b'{"do": "restart", "names": [1]}\n', "`names` is not a list of texts"),
        (b'{"do": "ps", "names": [' + b'"a",' * 1000 + b'"a"]}\n', "`names` has more than 1000"),
        (b"x" * (MAX_REQUEST + 5000), f"it is longer than {MAX_REQUEST} bytes"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "it is not JSON"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_what_is_no_request_is_an_error_and_nothing_else(
    data: bytes, message: str, state: State, control: Path
) -> None:
    """
    Its sender is told what is wrong with it, and the next request is answered.
    """
    answers = raw(control, data)

    # Who goes on sending after the end of all patience may lose the answer.
    if len(data) <= MAX_REQUEST:
        (answer,) = answers
        assert "error" == answer["event"]
        assert message in answer["message"]
    assert [] == running(state, control).ask("ps")["names"]


def test_silent_clients_hold_up_nobody_and_are_few(state: State, control: Path) -> None:
    """
    A client beyond the bound is told so; when the silent ones are gone, requests are answered.
    """
    with ExitStack() as stack:
        for _ in range(server.MOST_CONNECTIONS):
            one = stack.enter_context(closing(socket.socket(socket.AF_UNIX)))
            one.connect(str(control))

        def refused() -> bool:
            try:
                running(state, control).ask("ps")
            except TaskServerError as error:
                assert "too many commands at once" in str(error)  # noqa: PT017
                return True
            return False

        until(refused, "the bound")

    def answered() -> bool:
        try:
            return running(state, control).ask("ps") is not None
        except TaskServerError:
            return False

    until(answered, "an answer")


def test_a_client_that_is_slow_with_its_request_is_let_go(
    control: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its time is bounded; it gets no answer.
    """
    monkeypatch.setattr(server, "_CLIENT_SECONDS", 0.05)

    with closing(socket.socket(socket.AF_UNIX)) as one:
        one.settimeout(PATIENCE)
        one.connect(str(control))
        one.sendall(b'{"do": ')

        assert b"" == one.recv(1)


def test_a_client_that_is_gone_is_forgotten(folder: Path, state: State) -> None:
    """
    Whoever waits for the end of all and is killed takes no place of others.
    """
    replies: list[Reply] = []
    with ControlServer(folder / "up.sock", lambda _, reply: replies.append(reply)):
        with running(state, folder / "up.sock").stream("watch"):
            until(lambda: replies, "the request")

        until(lambda: not replies[0].open, "the end of the connection")


def test_the_socket_is_this_users_alone(control: Path) -> None:
    """
    Nobody else can connect to it, or enter its folder.
    """
    assert 0o600 == stat.S_IMODE(control.stat().st_mode)
    assert 0o700 == stat.S_IMODE(control.parent.stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_another_user_is_refused() -> None:
    """
    Even where the permissions let it connect.
    """
    nobody = 65534
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        path = Path(folder) / "up.sock"
        with ControlServer(path, echo), closing(socket.socket(socket.AF_UNIX)) as one:
            path.chmod(0o777)
            one.settimeout(PATIENCE)
            # The kernel notes who connects, of this thread's user at that moment.
            os.seteuid(nobody)
            try:
                one.connect(str(path))
            finally:
                os.seteuid(0)
            # It may be refused before it has asked.
            with suppress(OSError):
                one.sendall(b'{"do": "ps"}\n')

            assert b"this `up` is another user's" in one.recv(4096)


def test_a_socket_that_was_left_is_replaced(folder: Path, state: State) -> None:
    """
    Whoever has the lock is the only one: the socket there is that of one that was killed.
    """
    path = folder / "up.sock"
    with closing(socket.socket(socket.AF_UNIX)) as killed:
        killed.bind(str(path))

    with ControlServer(path, echo):
        assert [] == running(state, path).ask("ps")["names"]
    assert not path.exists()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (b"", "does not answer"),
        (b"no\n", "it is not JSON"),
        (b'{"event": "accepted"}\n', "has ended meanwhile"),
        (b'{"event": "accepted"}\n' + b"x" * (MAX_ANSWER + 1), "more than is possible"),
        (b'{"event": "error", "message": "no such thing"}\n', "no such thing"),
    ],
    ids=["closed", "no-json", "ended", "endless", "error"],
)
def test_what_a_broken_server_answers_is_an_error(
    answers: bytes, message: str, folder: Path, state: State
) -> None:
    """
    A command ends with one line.
    """
    path = folder / "up.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                with suppress(OSError):
                    connection.sendall(answers)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(TaskServerError, match=message):
            running(state, path).ask("ps")
        thread.join()


def test_a_server_that_does_not_answer_is_named(
    folder: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A stopped `up` accepts nothing: the line says how to end it.
    """
    monkeypatch.setattr(client, "_ACCEPT_SECONDS", 0.05)
    path = folder / "up.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
        listening.listen()

        with pytest.raises(NoAnswerError, match=f"`kill {os.getpid()}` ends it"):
            running(state, path).ask("ps")


def test_a_demo_takes_no_commands(state: State) -> None:
    """
    It has locked the folder and has no socket.
    """
    with state.lock({"app": "docket"}):
        found = RunningUp.find(state.path)

        assert found is not None
        with pytest.raises(NoAnswerError, match="takes no commands"):
            found.ask("ps")
    assert RunningUp.find(state.path) is None
