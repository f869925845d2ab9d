"""The state folder: where it may be, and whose it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from task_server.errors import LocalServerError
from task_server.local.servers.state import MAX_SOCKET_FOLDER, State


def test_the_folder_is_made_and_private(tmp_path: Path) -> None:
    """
    A state folder that is not there is created, with its parents, for its owner only.
    """
    state = State.open(tmp_path / "a" / "b")

    assert tmp_path / "a" / "b" == state.path
    assert 0o700 == state.path.stat().st_mode & 0o777


def test_git_ignores_a_folder_that_we_made_and_no_other(tmp_path: Path) -> None:
    """
    A new state folder ignores itself; one that was there gets no such file.
    """
    State.open(tmp_path)
    State.open(tmp_path / "new")

    assert not (tmp_path / ".gitignore").exists()
    assert "*\n" == (tmp_path / "new" / ".gitignore").read_text()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """
    A path that is a file gives an error with the path and what to do.
    """
    (tmp_path / "file").write_text("")

    with pytest.raises(LocalServerError, match="is a file; remove it") as caught:
        State.open(tmp_path / "file")

    assert str(tmp_path / "file") in str(caught.value)


def test_a_file_among_the_parents_is_named(tmp_path: Path) -> None:
    """
    A path that leads through a file gives an error that says so.
    """
    (tmp_path / "file").write_text("")

    with pytest.raises(LocalServerError, match="a part of the path is a file"):
        State.open(tmp_path / "file" / "state")


def test_a_new_folder_has_no_owner(tmp_path: Path) -> None:
    """
    A folder that no supervisor holds has no owner.
    """
    assert State.open(tmp_path).lock_holder() is None


def test_the_owner_says_what_it_is(tmp_path: Path) -> None:
    """
    What the owner says of itself, and adds later, can be read until it lets go.
    """
    state = State.open(tmp_path)

    with state.lock({"app": "docket"}) as lock:
        first = State.open(tmp_path).lock_holder()
        lock.update(flower="http://127.0.0.1:5555")
        second = State.open(tmp_path).lock_holder()

    assert {"app": "docket", "pid": os.getpid()} == first
    assert {"app": "docket", "pid": os.getpid(), "flower": "http://127.0.0.1:5555"} == second
    assert state.lock_holder() is None


def test_a_second_claim_names_the_first(tmp_path: Path) -> None:
    """
    A folder can be claimed once; the error of the second names the pid of the first.
    """
    state = State.open(tmp_path)

    with (
        state.lock(),
        pytest.raises(LocalServerError, match=f"Another task-server .pid {os.getpid()}."),
        State.open(tmp_path).lock(),
    ):
        pass


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    """
    A killed supervisor holds no lock, and what it published is ignored.
    """
    program = (
        "import os, signal; from task_server.local.servers.state import State\n"
        f"with State.open({str(tmp_path)!r}).lock({{'app': 'old'}}):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    state = State.open(tmp_path)

    assert (tmp_path / "owner.json").exists()
    assert state.lock_holder() is None
    with state.lock({"app": "new"}):
        assert {"app": "new", "pid": os.getpid()} == state.lock_holder()


@pytest.mark.parametrize("name", ["with-Capitals", "x" * MAX_SOCKET_FOLDER, "with space"])
def test_a_path_that_no_socket_url_can_hold_gets_a_short_one(tmp_path: Path, name: str) -> None:
    """
    A long path, or one that a URL would change, has its sockets in a private folder in /tmp.
    """
    state = State.open(tmp_path / name)
    folder = state.socket_folder()
    try:
        assert Path("/tmp") == folder.parent
        assert 0o700 == folder.stat().st_mode & 0o777
        assert folder == state.socket_folder()
    finally:
        folder.rmdir()


def test_a_socket_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    """
    A folder in /tmp that others can enter is not used for sockets.
    """
    state = State.open(tmp_path / "With-Capitals")
    folder = state.socket_folder()
    folder.chmod(0o755)
    try:
        with pytest.raises(LocalServerError, match="not a folder that only this user"):
            state.socket_folder()
    finally:
        folder.rmdir()


def test_a_link_in_place_of_the_socket_folder_is_refused(tmp_path: Path) -> None:
    """
    A symbolic link in /tmp is not followed.
    """
    state = State.open(tmp_path / "With-Capitals")
    folder = state.socket_folder()
    folder.rmdir()
    (tmp_path / "target").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "target")
    try:
        with pytest.raises(LocalServerError, match="not a folder that only this user"):
            state.socket_folder()
    finally:
        folder.unlink()
