"""
Django's management commands of the project that TASK_SERVER_APP names.

`python -m task_server.manage migrate`: loading the project's Celery app sets
what the project's own manage.py sets, so nothing about it must be known here.
"""

import os
import sys

from task_server.errors import ConfigError, Problem


def main(arguments: list[str]) -> None:
    """
    Run the management command *arguments*; Django ends the process when it fails.

    Raises:
        ConfigError: When the project is not a Django project.
    """
    import task_server.app  # noqa: F401, PLC0415 - loads the project's app, so its settings

    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        message = (
            "the project's Celery app names no DJANGO_SETTINGS_MODULE; set it, or run without "
            "migrations if it is not a Django project"
        )
        raise ConfigError([Problem("settings_module", message)])
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - needs settings

    execute_from_command_line(["task-server", *arguments])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ConfigError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
