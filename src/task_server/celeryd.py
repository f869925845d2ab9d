"""
Celery's worker without the rest of Celery's command line: `python -m task_server.celeryd`.

`celery … worker` imports all of Celery's commands, a shell with completion and
every plugin, Flower among them: two thirds of the time and two fifths of the memory
of that import, for nothing. This is the command `worker` alone, with the same
arguments; the app is `task_server.app`.
"""

import os
import sys

from task_server.launch import early_stop, handover, restart
from task_server.launch.spec import APP_VARIABLE, IMPORT_SECONDS, WORKER_VARIABLE, WorkerSpec
from task_server.project.import_errors import failure, is_own, print_traceback
from task_server.project.import_watch import Watch, end


def main(arguments: list[str]) -> None:
    """Run the worker; it ends the process with its exit code."""
    name = os.environ.get(APP_VARIABLE, "the project")
    watch = Watch(name, _import_seconds())
    # Celery looks for --pool in the arguments and patches the standard library
    # for gevent. Nothing that holds on to a socket or a lock may be imported
    # before, so the imports stand below.
    from celery import maybe_patch_concurrency  # noqa: PLC0415

    maybe_patch_concurrency(arguments)
    watch.patched()

    from celery.bin.base import CLIContext  # noqa: PLC0415
    from celery.bin.worker import worker  # noqa: PLC0415
    from celery.signals import celeryd_init  # noqa: PLC0415

    from task_server.app import app  # noqa: PLC0415

    quiet = "--quiet" in arguments
    context = CLIContext(
        app=app, no_color=bool(os.environ.get("NO_COLOR")), workdir=None, quiet=quiet
    )
    # Options that the project added to the worker, and to all commands.
    worker.params.extend(app.user_options.get("worker", []))
    worker.params.extend(app.user_options.get("preload", []))
    rest = [argument for argument in arguments if argument != "--quiet"]
    # Celery sends it when the project's tasks are imported.
    celeryd_init.connect(lambda **_: watch.stop(), weak=False)
    try:
        worker.main(rest, prog_name="celery worker", obj=context)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # Click, too, ends the process by SystemExit.
        if not watch.on or (isinstance(error, SystemExit) and not is_own(name, error)):
            raise
        print_traceback(error, os.environ)
        end(failure(name, error))


def _import_seconds() -> float:
    text = os.environ.get(WORKER_VARIABLE)
    return WorkerSpec.from_json(text).import_seconds if text else IMPORT_SECONDS


if __name__ == "__main__":
    early_stop.ignore_signals_at_exit()
    early_stop.install()
    # The launcher blocked them before exec.
    early_stop.unblock()
    try:
        secrets = handover.read(os.environ)
    except (OSError, ValueError) as error:
        print(f"Error: what the launcher handed over cannot be read: {error}", file=sys.stderr)
        sys.exit(1)
    restart.remember(os.environ, secrets)
    # The project may read them while it is imported; see `worker.secrets`.
    os.environ.update(secrets)
    main(sys.argv[1:])
