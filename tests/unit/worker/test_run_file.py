"""Run files: proof that an earlier worker of this folder is dead, and nothing else."""

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from task_server import transport
from task_server.health.process import boot_id
from task_server.worker.broker.run_file import RunFile

DEAD, OTHER = "d" * 32, "e" * 32


@pytest.fixture(autouse=True)
def atomic() -> Iterator[None]:
    """Use the atomic transport in this process."""
    assert transport.install()
    yield
    transport.uninstall()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as a worker has one."""
    tmp_path.chmod(0o700)
    return tmp_path


def left(folder: Path, run: str = DEAD, **said: object) -> Path:
    """Leave the file of a dead process."""
    path = folder / f"w.{run}.run"
    path.write_text(json.dumps({"boot": boot_id(), "broker": "here", **said}))
    return path


def buried(folder: Path, broker: str = "here") -> list[str]:
    """Return the processes that a new worker of *folder* takes for dead."""
    found: list[str] = []
    RunFile(folder, "w").restore_dead(broker, found.extend)
    return found


def test_the_file_of_a_dead_process_is_used_once(folder: Path) -> None:
    """
    What it had is restored, and the file removed.
    """
    left(folder)

    assert [DEAD] == buried(folder)
    assert [] == buried(folder) == list(folder.iterdir())


def test_the_file_of_a_process_that_lives_is_left_alone(folder: Path) -> None:
    """
    Its lock is not free, whether the main process has it or a child that outlives it.
    """
    path = left(folder)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        assert [] == buried(folder)
    os.close(reading)

    assert ([], True) == (buried(folder), path.exists())
    os.close(writing)
    os.waitpid(child, 0)
    assert [DEAD] == buried(folder)


def test_two_processes_of_one_name_know_each_other_for_alive(folder: Path) -> None:
    """
    A worker locks its file before it has its name.
    """
    one = RunFile(folder, "w", DEAD).locked()

    assert [] == buried(folder)
    one.remove([])
    assert [] == list(folder.iterdir())


def test_a_process_that_ends_with_messages_leaves_its_file(folder: Path) -> None:
    """
    Its next start gives them back.
    """
    one = RunFile(folder, "w", DEAD).locked()
    one.remove([object()])

    assert [f"w.{DEAD}.run"] == [path.name for path in folder.iterdir()]


def test_a_file_of_another_boot_proves_nothing(folder: Path) -> None:
    """
    Another machine may share the folder, and know nothing of this one's locks.
    """
    path = left(folder, boot="another")

    assert ([], False) == (buried(folder), path.exists())


def test_a_file_of_another_broker_waits_for_its_worker(folder: Path) -> None:
    """
    For a day; then it is removed.
    """
    path = left(folder, broker="there")

    assert ([], True) == (buried(folder), path.exists())
    assert [DEAD] == buried(folder, "there")
    path = left(folder, broker="there")
    os.utime(path, (1, 1))
    assert ([], False) == (buried(folder), path.exists())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"x"', "[" * 100_000, '{"boot": 3}', "\udcff"]
)
def test_what_no_worker_wrote_harms_none(folder: Path, text: str) -> None:
    """
    It names no process, and is removed.
    """
    path = folder / f"w.{DEAD}.run"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))

    assert ([], False) == (buried(folder), path.exists())


def test_links_pipes_and_other_names_are_left_alone(folder: Path, tmp_path: Path) -> None:
    """
    Nothing is followed, waited for or removed that is no file of a worker.
    """
    target = folder / "target"
    target.write_text(json.dumps({"boot": boot_id(), "broker": "here"}))
    (folder / f"w.{DEAD}.run").symlink_to(target)
    os.mkfifo(folder / f"w.{OTHER}.run")
    for name in ("w.run", "w.json", f"w.{'D' * 32}.run", f"w.{DEAD}.run.bak"):
        (folder / name).write_text(target.read_text())
    before = sorted(path.name for path in folder.iterdir())

    assert [] == buried(folder)
    kept = sorted(path.name for path in folder.iterdir())
    assert set(before) - set(kept) <= {f"w.{OTHER}.run"}
    assert target.exists()


def test_a_restore_that_fails_leaves_the_file(folder: Path) -> None:
    """
    The next connection tries again.
    """
    path = left(folder)

    def refuse(_: object) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        RunFile(folder, "w").restore_dead("here", refuse)
    assert path.exists()
    assert [DEAD] == buried(folder)


def test_a_folder_that_cannot_be_written_is_one_line(folder: Path, caplog) -> None:
    """
    The worker starts all the same; what it has is delivered again after its lease.
    """
    RunFile(folder / "gone", "w").locked()

    assert "the run files in" in caplog.text
    assert 1 == len(caplog.records)
