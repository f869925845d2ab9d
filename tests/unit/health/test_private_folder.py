"""A folder is this user's alone, and nothing in it leads anywhere else."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from task_server.errors import ConfigError
from task_server.health import private_folder, verdict
from task_server.health.folder import heartbeat_folder, prepare_folder
from task_server.health.private_folder import NotPrivateError, open_folder

UID = os.geteuid()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    opened = open_folder(tmp_path, UID)
    yield opened
    os.close(opened)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder that another user owns."""
    path = tmp_path / "foreign"
    path.mkdir(mode=0o700)
    if UID != 0:
        pytest.skip("only root gives a folder away")
    os.chown(path, 4711, 4711)
    return path


def mode(path: Path, bits: int) -> Path:
    path.mkdir()
    path.chmod(bits)
    return path


@pytest.mark.parametrize("bits", [0o770, 0o777, 0o1777, 0o702])
def test_a_folder_that_others_may_write_in_is_refused_with_the_cure(
    tmp_path: Path, bits: int
) -> None:
    """
    Who can write there can put a link in the place of a file.
    """
    path = mode(tmp_path / "run", bits)

    with pytest.raises(ConfigError) as caught:
        prepare_folder(path, UID)

    assert "is writable by others" in str(caught.value)
    assert f"chmod go-w {path}" in str(caught.value)


@pytest.mark.parametrize("bits", [0o700, 0o750, 0o755])
def test_a_folder_that_others_only_read_is_taken(tmp_path: Path, bits: int) -> None:
    """
    systemd makes its folders 0755, and the NixOS module 0750.
    """
    prepare_folder(mode(tmp_path / "run", bits), UID)


def test_a_folder_of_another_user_is_refused_by_name(foreign: Path) -> None:
    """
    Also for root, who could write in it.
    """
    with pytest.raises(ConfigError, match="is another user's") as caught:
        prepare_folder(foreign, UID)

    assert str(foreign) in str(caught.value)
    assert "4711:4711" in str(caught.value)


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_folder_that_is_a_link_is_refused(tmp_path: Path, target: str) -> None:
    """
    Wherever it leads, and if it leads nowhere.
    """
    mode(tmp_path / "there", 0o700)
    link = tmp_path / "run"
    link.symlink_to(tmp_path / target)

    with pytest.raises(ConfigError, match="is a link to"):
        prepare_folder(link, UID)


def test_systemd_may_lead_through_a_link(tmp_path: Path) -> None:
    """
    With a dynamic user, its own RUNTIME_DIRECTORY is a link into a private folder.
    """
    from task_server.config.model import Config  # noqa: PLC0415

    mode(tmp_path / "private", 0o700)
    (tmp_path / "run").symlink_to(tmp_path / "private")

    found = heartbeat_folder(Config(), {"RUNTIME_DIRECTORY": str(tmp_path / "run")}, UID)

    prepare_folder(found, UID)
    assert tmp_path / "private" == found


@pytest.mark.parametrize("name", ["w.json", f".w.json.{os.getpid()}"], ids=["file", "draft"])
def test_a_file_is_written_over_no_link(tmp_path: Path, folder: int, name: str) -> None:
    """
    The link is replaced, or removed; what it leads to stays as it is.
    """
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / name).symlink_to(victim)

    private_folder.replace(folder, "w.json", "mine")

    assert "precious" == victim.read_text()
    assert "mine" == (tmp_path / "w.json").read_text()
    assert not (tmp_path / "w.json").is_symlink()
    assert {"victim", "w.json"} == {path.name for path in tmp_path.iterdir()}


def link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def foreign_file(path: Path) -> None:
    path.write_text("{}")
    if UID != 0:
        pytest.skip("only root gives a file away")
    os.chown(path, 4711, 4711)


@pytest.mark.parametrize("put", [link, os.mkfifo, os.mkdir, foreign_file])
def test_what_is_no_file_of_the_owner_is_not_read(
    tmp_path: Path, folder: int, put: Callable[[Path], None]
) -> None:
    """
    A FIFO does not hold up who reads, and a link is not followed.
    """
    put(tmp_path / "w.json")
    read: list[object] = []

    def run() -> None:
        with pytest.raises(NotPrivateError) as caught:
            private_folder.read(folder, "w.json")
        read.append(str(caught.value))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)

    assert ["w.json"] == [str(text).split()[0] for text in read]


def test_health_names_a_heartbeat_that_leads_elsewhere(tmp_path: Path) -> None:
    """
    The worker is called dead, and the line says what to remove.
    """
    os.mkfifo(tmp_path / "w.json")

    found = verdict.check(tmp_path, "w")

    assert not found.alive
    assert "w.json is not a regular file; remove it" in found.reason


def test_health_does_not_believe_a_folder_that_another_user_made(foreign: Path) -> None:
    """
    In /tmp anybody can make one before us, with a heartbeat that says that all is well.
    """
    found = verdict.check(foreign, "w", owner=UID)

    assert not found.alive
    assert "is another user's" in found.reason
