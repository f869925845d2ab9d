"""
Celery's worker without the rest of Celery's command line: `python -m task_server.celeryd`.

`celery … worker` imports all of Celery's commands, a shell with completion and
every plugin, Flower among them: two thirds of the time and two fifths of the memory
of that import, for nothing. This is the command `worker` alone, with the same
arguments; the app is `task_server.app`.
"""

import os
import sys

from celery import maybe_patch_concurrency


def main(arguments: list[str]) -> None:
    """Run the worker; it ends the process with its exit code."""
    # Celery looks for --pool in the arguments and patches the standard library
    # for gevent. Nothing that holds on to a socket or a lock may be imported
    # before, so the imports stand below.
    maybe_patch_concurrency(arguments)

    from celery.bin.base import CLIContext  # noqa: PLC0415
    from celery.bin.worker import worker  # noqa: PLC0415

    from task_server.app import app  # noqa: PLC0415

    quiet = "--quiet" in arguments
    context = CLIContext(
        app=app, no_color=bool(os.environ.get("NO_COLOR")), workdir=None, quiet=quiet
    )
    # Options that the project added to the worker, and to all commands.
    worker.params.extend(app.user_options.get("worker", []))
    worker.params.extend(app.user_options.get("preload", []))
    rest = [argument for argument in arguments if argument != "--quiet"]
    worker.main(rest, prog_name="celery worker", obj=context)


if __name__ == "__main__":
    main(sys.argv[1:])
