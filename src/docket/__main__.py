"""``docket COMMAND``: Django's management commands of the reference project."""

import os
import sys

from task_server.errors import TaskServerError


def main() -> None:
    """Run the management command that the arguments name, and exit."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "docket.settings")
    # Django reads the environment when it imports the settings, which is
    # below this line: what is to be in it must be there by now.
    from django.core.management import execute_from_command_line  # noqa: PLC0415

    try:
        execute_from_command_line(sys.argv)
    except TaskServerError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
