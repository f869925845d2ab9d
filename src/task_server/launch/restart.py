"""A worker that restarts under its process id, on SIGHUP."""

import os
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

from task_server.launch import early_stop, handover

_started: list[tuple[str, dict[str, str], dict[str, str]]] = []


def remember(environ: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    """
    Remember how this process was started, with *environ*; call it before anything changes that.

    Args:
        secrets: What the launcher handed over beside the environment.
    """
    # Path.cwd() fails in a deleted folder.
    _started[:] = [(os.getcwd(), dict(environ), dict(secrets))]  # noqa: PTH109


def possible() -> bool:
    """Whether this process knows how it was started."""
    return bool(_started)


def restart() -> NoReturn:
    """
    Run this process again from its start, with the same arguments.

    Celery runs `sys.argv` as a script, which for `python -m` is another program: it
    puts the folder of that module first on the path.
    """
    folder, environ, secrets = _started[0]
    early_stop.block()
    for number in early_stop.ALL:
        # exec(2) keeps ignored signals ignored.
        signal.signal(number, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os.chdir(folder)
    if secrets:
        environ = handover.environ_without(environ, secrets)
    os.execve(sys.executable, sys.orig_argv, environ)  # noqa: S606 - no shell is meant
