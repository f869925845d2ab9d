"""Which changes of which files reload the workers."""

import queue
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from task_server.local.reload import watch
from task_server.local.reload.watch import Watcher, packages_beside
from tests.support.wait import PATIENCE, until


class Changes:
    """What a watcher reported."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self.errors: list[str] = []

    def changed(self, paths: Sequence[Path]) -> None:
        for path in paths:
            self._queue.put(path)

    def until(self, path: Path) -> set[Path]:
        """Return what was reported until *path* was."""
        seen = set()
        while path not in seen:
            seen.add(self._queue.get(timeout=PATIENCE))
        return seen


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the package of a project in a folder whose name is that of an ignored one."""
    package = tmp_path / "venv" / "site1"
    (package / "migrations").mkdir(parents=True)
    (package / "media").mkdir()
    for name in ("__init__.py", "tasks.py", "migrations/__init__.py"):
        (package / name).touch()
    return package


@pytest.fixture
def changes(project: Path) -> Iterator[Changes]:
    found = Changes()
    watcher = Watcher([str(project)], [project / "media"], found.changed, found.errors.append)
    watcher.start()
    # Nothing says that the kernel watches by now, but a change that is seen.
    probe = project / "probe.py"

    def seen() -> bool:
        probe.write_text(str(len(probe.read_text()) if probe.exists() else 0))
        return not found._queue.empty()

    until(seen, "the watcher", pause=0.5)
    yield found
    assert [] == found.errors


def save(path: Path) -> Path:
    path.write_text("x = 1\n")
    return path


def replace(path: Path) -> Path:
    """Save as many editors do."""
    draft = path.with_suffix(".tmp")
    draft.write_text("x = 2\n")
    draft.replace(path)
    return path


def delete(path: Path) -> Path:
    path.unlink()
    return path


@pytest.mark.parametrize("change", [save, replace, delete])
def test_a_file_of_code_is_reported(
    change: Callable[[Path], Path], project: Path, changes: Changes
) -> None:
    """
    However it is saved.
    """
    path = project / "tasks.py"

    assert path in changes.until(change(path))


def test_what_is_no_code_is_not(project: Path, changes: Changes) -> None:
    """
    Migrations count; media, caches, packages that are installed and other files do not.
    """
    others = ["media/upload.py", "__pycache__/tasks.py", "data.json", ".git/x.py"]
    others += ["site-packages/x.py", "node_modules/x.py"]
    for name in others:
        path = project / name
        path.parent.mkdir(exist_ok=True)
        save(path)
    last = save(project / "migrations" / "0001_initial.py")

    seen = changes.until(last)

    assert seen.isdisjoint(project / name for name in others)


def test_a_package_that_is_added_is_watched_from_then_on(project: Path, changes: Changes) -> None:
    """
    `startapp` makes one beside the project's; so does a new module.
    """
    package = project.parent / "mail"
    package.mkdir()
    save(package / "__init__.py")
    changes.until(save(project.parent / "module.py"))
    until(lambda: package in packages_beside([project]))

    # The change of the settings that installs it is the latest moment.
    changes.until(save(project / "settings.py"))
    until(lambda: _reported(changes, package / "tasks.py"), "the new package", pause=0.5)


def _reported(changes: Changes, path: Path) -> bool:
    path.write_text(f"x = {path.read_text().count('x') if path.exists() else 0}\n")
    seen = set()
    while not changes._queue.empty():
        seen.add(changes._queue.get())
    return path in seen


def test_what_cannot_be_watched_is_said_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where the kernel has no room for more watches, `up` goes on without reload.
    """
    import watchfiles  # noqa: PLC0415

    def refused(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(watchfiles, "watch", refused)
    found = Changes()
    watcher = Watcher([str(project)], [], found.changed, found.errors.append)

    watcher.start()

    until(lambda: found.errors, "the error")
    assert ["OS file watch limit reached."] == found.errors
    assert watch.is_installed()
