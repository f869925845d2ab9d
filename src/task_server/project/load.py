"""The project's app in this process: the one way in which commands import it."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from task_server.config.model import Config
from task_server.errors import ConfigError, Problem, TaskServerError
from task_server.launch.command import project_environ
from task_server.project.defaults import Default, connection_defaults
from task_server.project.discovery import SETTINGS_VARIABLE
from task_server.project.import_errors import explained
from task_server.project.import_watch import bounded


@contextmanager
def imported(
    config: Config,
    *,
    preset: Iterable[Default] = (),
    on_stall: Callable[[TaskServerError], None] | None = None,
) -> Iterator[Any]:
    """
    Import the project as a worker does, in this process's environment; yield its app.

    What is done inside is bounded and explained as the import is, and what it
    prints goes to standard error: it is not the command's answer.

    Args:
        preset: For `celery_app.preset_defaults`.

        on_stall: What to do with an import that hangs; see `import_watch.Watch`.

    Raises:
        ConfigError: When it cannot be imported.
        PeerError: When a server that the import asks does not answer.
    """
    # The modules of the project see what a worker's would.
    os.environ.update(project_environ(config, os.environ))
    _find_project(config)
    with (
        redirect_stdout(sys.stderr),
        bounded(config.app, config.import_seconds, on_stall),
        explained(config.app, os.environ),
    ):
        from task_server.project import celery_app  # noqa: PLC0415 - imports Celery

        celery_app.preset_defaults(preset)
        yield celery_app.load_app(config.app)


def connecting_app(config: Config) -> Any:
    """
    Import the project; return its app, which connects to its servers as a worker's does.

    Raises:
        ConfigError: When it cannot be imported.
        PeerError: When a server that the import asks does not answer.
    """
    with imported(config) as app:
        from task_server.project import celery_app  # noqa: PLC0415 - imports Celery

        celery_app.apply_defaults(app, connection_defaults(app.conf.result_backend))
        return app


def calling_app(config: Config) -> Any:
    """
    Import the project with its tasks; return its app, which sends to the operator's broker.

    Raises:
        ConfigError: When it cannot be imported.
        PeerError: When a server that the import asks does not answer.
    """
    with imported(config) as app:
        from task_server.project import celery_app  # noqa: PLC0415 - imports Celery

        celery_app.use_broker(app, broker=config.broker_url)
        celery_app.check_urls(app)
        celery_app.apply_defaults(app, connection_defaults(app.conf.result_backend))
        app.loader.import_default_modules()
        app.finalize()
        return app


def settings_folder(config: Config) -> Path:
    """
    Return the folder of the project's settings module.

    Raises:
        ConfigError: When there is no such package.
    """
    _find_project(config)
    top = config.app.partition(":")[0].partition(".")[0]
    module = config.settings_module or os.environ.get(SETTINGS_VARIABLE)
    module = module or f"{top}.settings"
    try:
        spec = find_spec(module)
    except ImportError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        message = f"there is no settings package {module!r}; set settings_module to its name"
        raise ConfigError([Problem("settings_module", message)])
    return Path(next(iter(spec.submodule_search_locations)))


def _find_project(config: Config) -> None:
    """Let Python find the project's modules: in `code`, then in the working folder."""
    for folder in (str(Path.cwd()), config.code):
        if folder is not None and folder not in sys.path:
            sys.path.insert(0, folder)
