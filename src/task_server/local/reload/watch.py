"""
The files of a project's code, and the changes of them.

By watchfiles (inotify, or polling where that does not work: WATCHFILES_FORCE_POLLING).
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

#: What ends a series of changes: so long nothing changed, or so long it has lasted. Milliseconds.
_QUIET, _LONGEST = 300, 3000

#: Folders, by name, that hold no code of the project.
_IGNORED = frozenset(
    {
        *("__pycache__", ".git", ".hg", ".svn", ".task-server", ".tox", ".nox", ".direnv"),
        *("node_modules", "site-packages", "dist-packages", ".venv", "venv", ".idea", ".vscode"),
        *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"),
    }
)

OnChange = Callable[[Sequence[Path]], None]


def is_installed() -> bool:
    """Return whether watchfiles is there."""
    return find_spec("watchfiles") is not None


class Watcher:
    """
    Watches the packages of a project, and those that are put beside them later.

    Args:
        code: Folders of packages, and files of modules.

        excluded: Folders inside them that hold no code: media, and our state.

        on_change: Is called with the files of a series of changes, in a thread.

        on_error: Is called once with the reason why no more is watched.
    """

    def __init__(
        self,
        code: Iterable[str],
        excluded: Iterable[Path],
        on_change: OnChange,
        on_error: Callable[[str], None],
    ) -> None:
        self._code = frozenset(Path(one).resolve() for one in code)
        self._beside = frozenset(one.parent for one in self._code)
        self._excluded = tuple(one.resolve() for one in excluded)
        self._on_change = on_change
        self._on_error = on_error
        self._failed = threading.Event()
        self._watched: frozenset[Path] = frozenset()
        self._stop_packages = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to watch, in threads that end with the process."""
        self._thread(self._beside, recursive=False, stop=threading.Event())
        self._watch_packages()

    @property
    def names(self) -> str:
        """What is watched, for people."""
        return ", ".join(sorted(one.name for one in self._watched))

    def is_code(self, path: Path) -> bool:
        """Return whether *path* is a file whose change matters."""
        # Where the project itself lies is no matter: in a folder called venv, perhaps.
        inside = (path.relative_to(one) for one in self._beside if path.is_relative_to(one))
        return (
            path.suffix == ".py"
            and all(_IGNORED.isdisjoint(one.parts) for one in inside)
            and not any(path.is_relative_to(folder) for folder in self._excluded)
        )

    def _watch_packages(self) -> None:
        """Watch the packages that there are now; once more if they are others than before."""
        with self._lock:
            packages = frozenset(packages_beside(self._code))
            if packages == self._watched:
                return
            self._stop_packages.set()
            self._watched, self._stop_packages = packages, threading.Event()
            self._thread(packages, recursive=True, stop=self._stop_packages)

    def _thread(self, paths: Iterable[Path], *, recursive: bool, stop: threading.Event) -> None:
        there = [path for path in paths if path.is_dir()]
        if there:
            threading.Thread(
                target=self._run, args=(there, recursive, stop), name="reload", daemon=True
            ).start()

    def _run(self, paths: list[Path], recursive: bool, stop: threading.Event) -> None:  # noqa: FBT001
        from watchfiles import watch  # noqa: PLC0415 - of the extra `embedded`

        try:
            for changes in watch(
                *paths,
                watch_filter=None,
                debounce=_LONGEST,
                step=_QUIET,
                stop_event=stop,
                recursive=recursive,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                self._watch_packages()
                files = sorted({Path(path) for _, path in changes if self.is_code(Path(path))})
                if files:
                    self._on_change(files)
        except (OSError, RuntimeError) as error:
            if not self._failed.is_set():
                self._failed.set()
                self._on_error(str(error))


def packages_beside(code: Iterable[Path]) -> set[Path]:
    """Return the folders of *code*, and those of the packages that lie beside any of it."""
    found = {one for one in code if one.is_dir()}
    for parent in {one.parent for one in code}:
        try:
            children = list(parent.iterdir())
        except OSError:
            continue
        found |= {
            child
            for child in children
            if child.name not in _IGNORED and (child / "__init__.py").is_file()
        }
    return found
