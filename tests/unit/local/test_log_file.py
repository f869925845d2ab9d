"""The output of `up` in a file that is bounded."""

import errno
import os
from pathlib import Path

import pytest

from task_server.local.log_file import LogFile, Reader, log_path, of_names, older, split


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = log_path(tmp_path)
    path.parent.mkdir()
    return path


@pytest.fixture
def errors() -> list[OSError]:
    return []


def test_what_is_kept_is_bounded(path: Path, errors: list[OSError]) -> None:
    """
    A full file becomes the older one, and the oldest lines are gone; it is the user's alone.
    """
    log = LogFile(path, errors.append, most=100)

    for number in range(1000):
        log.write(f"one        | {number}\n")

    assert 200 >= path.stat().st_size + older(path).stat().st_size
    assert 0o600 == path.stat().st_mode & 0o777
    assert ["one        | 999"] == path.read_text().splitlines()[-1:]
    assert {path, older(path)} == set(path.parent.iterdir())
    assert [] == errors


def test_a_reader_follows_over_the_replacement(path: Path, errors: list[OSError]) -> None:
    """
    No line is missed, and none comes twice.
    """
    log = LogFile(path, errors.append, most=100)
    log.write("a | before\n")
    with Reader(path) as reader:
        reader.skip()
        read = []
        for number in range(50):
            log.write(f"one | {number}\n")
            read += reader.read()

    assert [f"one | {number}" for number in range(50)] == read


def test_a_line_is_read_when_it_is_whole(path: Path) -> None:
    """
    Half of one waits for the rest; a file that is not there yet is read once it is.
    """
    with Reader(path) as reader:
        assert [] == list(reader.read())
        with path.open("w") as file:
            file.write("one | ha")
            file.flush()
            assert [] == list(reader.read())
            file.write("lf\none | next")
            file.flush()
            assert ["one | half"] == list(reader.read())


def test_a_full_disk_ends_nothing_and_is_said_once(
    path: Path, errors: list[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    When there is room again the next lines are written.
    """
    log = LogFile(path, errors.append)
    with monkeypatch.context() as patched:

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patched.setattr(os, "write", full)
        log.write("one | lost\n")
        log.write("one | lost\n")
    log.write("one | kept\n")

    assert [errno.ENOSPC] == [error.errno for error in errors]
    assert "one | kept\n" == path.read_text()


def test_a_link_is_not_written_through(path: Path, errors: list[OSError], tmp_path: Path) -> None:
    """
    Another file is left as it is.
    """
    other = tmp_path / "other"
    other.write_text("mine")
    path.symlink_to(other)

    LogFile(path, errors.append).write("one | x\n")

    assert ("mine", [errno.ELOOP]) == (other.read_text(), [error.errno for error in errors])


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("prefork    | ready", ("prefork", "ready")),
        ("a-very-long-name | x | y", ("a-very-long-name", "x | y")),
        ("up         | ", ("up", "")),
        ("no name", ("", "no name")),
        ("", ("", "")),
    ],
)
def test_a_line_has_the_name_of_its_process(line: str, parts: tuple[str, str]) -> None:
    """
    By which `logs NAME` chooses.
    """
    assert parts == split(line)
    assert [line] == list(of_names(iter([line, "other | x"]), {parts[0]}))
