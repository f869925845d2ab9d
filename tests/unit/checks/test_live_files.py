"""What is checked of this machine and its files."""

import grp
import os
import pwd
import tempfile
from pathlib import Path

import pytest

from task_server.checks import Context, ProjectFacts
from task_server.checks.live import files
from task_server.config.model import Config
from task_server.launch import folders

CASE = Context(config=Config(), workers={}, counts={})


def test_a_folder_is_tried(tmp_path: Path) -> None:
    """
    A folder that takes a file is ok, and is left as it was.
    """
    found = folders.check_writable("MEDIA_ROOT", tmp_path)

    assert ("ok", []) == (found.level, list(tmp_path.iterdir()))


def test_a_folder_that_is_missing_or_none_is_reported(tmp_path: Path) -> None:
    """
    What is not there, and what is a file, are different mistakes.
    """
    (tmp_path / "file").write_text("")

    missing = folders.check_writable("MEDIA_ROOT", tmp_path / "media")
    file = folders.check_writable("MEDIA_ROOT", tmp_path / "file")

    assert ("error", f"{tmp_path}/media does not exist") == (missing.level, missing.message)
    assert ("error", f"{tmp_path}/file is not a folder") == (file.level, file.message)


def test_a_folder_that_cannot_be_written_names_owner_and_mode() -> None:
    """
    Who may write, and who this is, stand in one line. (Not even root writes in /proc.)
    """
    found = folders.check_writable("MEDIA_ROOT", Path("/proc"))

    assert "error" == found.level
    assert f"/proc is not writable by {os.geteuid()}:{os.getegid()} " in found.message
    assert "it belongs to 0:0, mode 0555" in found.message


def test_user_and_group_without_names(monkeypatch) -> None:
    """
    Numbers without entries are warnings; for the group an error where pickle is accepted.
    """

    def missing(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", missing)
    monkeypatch.setattr(grp, "getgrgid", missing)
    pickling = Context(
        config=Config(),
        workers={},
        counts={},
        facts=ProjectFacts(values={"accept_content": ["json", "pickle"]}),
    )

    plain = {one.setting: one for one in files.names(CASE)}
    refused = {one.setting: one for one in files.names(pickling)}

    assert ["warning", "warning"] == [one.level for one in plain.values()]
    assert "Celery assumes that it runs as root" in plain["group"].message
    assert f"x:{os.getegid()}:" in plain["group"].repair
    assert "error" == refused["group"].level


def test_folders_of_the_worker(tmp_path: Path) -> None:
    """
    Temporary files and heartbeats have their places, or the line says which is wanting.
    """
    right = list(files.writable_folders(CASE, {"RUNTIME_DIRECTORY": str(tmp_path / "run")}))
    wrong = list(files.writable_folders(CASE, {"RUNTIME_DIRECTORY": "/proc/task-server"}))

    assert ["ok", "ok"] == [one.level for one in right]
    assert "/proc/task-server cannot be written" in wrong[1].message or os.geteuid() == 0


def test_without_a_folder_for_temporary_files(monkeypatch) -> None:
    """
    A read-only container without a tmpfs gets the error that prefork would fail with.
    """

    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", none)

    found = next(files.writable_folders(CASE, {}))

    assert ("error", "mount a tmpfs at /tmp") == (found.level, found.repair)


@pytest.mark.parametrize("uid", [0, 1])
def test_root_is_a_warning(monkeypatch, uid: int) -> None:
    """
    A worker that runs as root is warned of; another user is not.
    """
    monkeypatch.setattr(os, "geteuid", lambda: uid)

    found = next(files.names(CASE))

    assert ("warning" if uid == 0 else "ok") == found.level
