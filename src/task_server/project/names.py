"""
The names of a project's tasks and queues, for a shell that completes them.

    python -m task_server.project.names CACHE

The child imports the project and writes what it found into a private folder, with the times
of the modules that it read. It is not waited for: the next question finds its answer.
"""

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from task_server.config.model import Config
from task_server.health import private_folder
from task_server.launch.command import project_environ
from task_server.launch.spec import APP_VARIABLE

#: How long the import may take, in seconds.
IMPORT_SECONDS = 30

#: Modules whose times are compared, and the age at which names are read again: a folder
#: that is new is in none of them.
MOST_FILES = 3000
MAX_AGE = 600.0

Names = dict[str, list[str]]


def known_names(config: Config, environ: Mapping[str, str], seconds: float) -> Names:
    """
    Return the names of the project of *config*: `tasks` and `queues`; none if not known yet.

    Args:
        seconds: How long a child that reads them is waited for. It goes on in any case.
    """
    folder = _folder(environ)
    file = f"{_key(config, environ)}.json"
    stored = _read(folder, file)
    if stored is not None and not _is_stale(stored):
        return _names(stored)
    child = _start(config, environ, folder / file)
    if child is not None:
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
            fresh = _read(folder, file)
            return _names(fresh or stored or {})
    return _names(stored or {})


def _folder(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/nonexistent"), ".cache")
    return Path(base, "task-server")


def _key(config: Config, environ: Mapping[str, str]) -> str:
    """Return the name of a project, here, with these settings and this Python."""
    parts = (str(Path.cwd()), config.app, config.code, sys.prefix, config.settings_module)
    given = environ.get("DJANGO_SETTINGS_MODULE")
    return hashlib.sha256(json.dumps([*parts, given]).encode()).hexdigest()[:32]


def _read(folder: Path, file: str) -> dict[str, Any] | None:
    try:
        opened = private_folder.open_folder(folder, os.getuid())
        try:
            stored = json.loads(private_folder.read(opened, file))
        finally:
            os.close(opened)
    except (OSError, ValueError, RecursionError):
        return None
    return stored if isinstance(stored, dict) else None


def _names(stored: Mapping[str, Any]) -> Names:
    return {
        kind: [one for one in stored.get(kind, ()) if isinstance(one, str)]
        for kind in ("tasks", "queues")
        if isinstance(stored.get(kind), list)
    }


def _is_stale(stored: Mapping[str, Any]) -> bool:
    files = stored.get("files")
    if not isinstance(files, dict) or not time.time() - float(stored.get("time", 0)) < MAX_AGE:
        return True
    try:
        return any(os.stat(name).st_mtime_ns != at for name, at in files.items())  # noqa: PTH116
    except OSError:
        return True


def _start(config: Config, environ: Mapping[str, str], file: Path) -> Any:
    """Start the child; None if it cannot be started. Another that runs makes it end at once."""
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "task_server.project.names", str(file)],
            env={**environ, **project_environ(config, environ)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None


def main(file: Path) -> None:
    """Write the names of the project that the environment describes to *file*."""
    # The kernel ends it, whatever the import does.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(IMPORT_SECONDS)
    private_folder.make(file.parent)
    folder = private_folder.open_folder(file.parent, os.getuid())
    lock = os.open(
        f"{file.name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=folder
    )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    with suppress(OSError):
        os.nice(10)
    sys.path.insert(0, str(Path.cwd()))
    from task_server.project.celery_app import load_app  # noqa: PLC0415 - imports Celery
    from task_server.project.queues import declared  # noqa: PLC0415

    app = load_app(os.environ[APP_VARIABLE])
    app.loader.import_default_modules()
    app.finalize()
    found = {
        "time": time.time(),
        "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
        "queues": sorted(declared(app)),
        "files": _files(),
    }
    private_folder.replace(folder, file.name, json.dumps(found))
    # The project may have started threads.
    os._exit(0)


def _files() -> dict[str, int]:
    """Return the modules that are nobody's installed ones, with the times of their files."""
    files: dict[str, int] = {}
    for module in list(sys.modules.values()):
        name = vars(module).get("__file__") if hasattr(module, "__dict__") else None
        if isinstance(name, str) and "site-packages" not in name and len(files) < MOST_FILES:
            with suppress(OSError):
                files[name] = os.stat(name).st_mtime_ns  # noqa: PTH116 - text
    standard = os.path.dirname(os.__file__)  # noqa: PTH120 - text
    return {name: at for name, at in files.items() if not name.startswith(standard)}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
