"""The launcher's last act: to become the worker."""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from task_server.argv import Command


def become(command: Command, environ: Mapping[str, str]) -> NoReturn:
    """Replace this process by *command*: one PID, and signals reach Celery itself."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvpe(command.argv[0], list(command.argv), {**environ, **command.environ})  # noqa: S606 - no shell is meant
