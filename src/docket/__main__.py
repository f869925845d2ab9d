"""``docket COMMAND``: Django's management commands of the reference project."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from task_server.config.model import Config
from task_server.errors import TaskServerError
from task_server.local.system import running

#: Any of these says where PostgreSQL is.
DATABASE_VARIABLES = ("DATABASE_URL", "PGHOST", "PGSERVICE")


def main() -> None:
    """
    Run the management command that the arguments name, and exit.

    Where nothing says which PostgreSQL to use, it is that of the state folder
    in which `task-server demo` and `task-server up` keep theirs.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "docket.settings")
    state = Path(os.environ.get("TASK_SERVER_STATE", ".task-server"))
    try:
        with ExitStack() as stack:
            if state.is_dir() and not any(name in os.environ for name in DATABASE_VARIABLES):
                os.environ.update(
                    stack.enter_context(running(Config(app="docket"), state, os.environ))
                )
            # Django reads the environment when it imports the settings: what
            # is to be in it must be there by now.
            from django.core.management import execute_from_command_line  # noqa: PLC0415

            execute_from_command_line(sys.argv)
    except TaskServerError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
