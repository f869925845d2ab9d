"""`task-server`, or `python -m task_server`."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Run the command line; an error is one message and an exit code, never a traceback."""
    # Before anything else is imported: a container may be stopped as soon as it is started.
    if sys.argv[1:2] in (["worker"], ["beat"], ["metrics"]):
        from task_server.launch import early_stop  # noqa: PLC0415

        early_stop.install()
    elif sys.argv[1:2] == ["health"] and "_TASK_SERVER_COMPLETE" not in os.environ:
        # What is imported is what such a check costs.
        from task_server.health import quick  # noqa: PLC0415

        code = quick.main(sys.argv[2:], os.environ)
        if code is not None:
            # To tear the interpreter down takes as long as the answer has.
            sys.stdout.flush()
            os._exit(code)
    from task_server.errors import TaskServerError  # noqa: PLC0415

    try:
        sys.exit(_run(sys.argv[1:]))
    except TaskServerError as error:
        coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        word = "\033[1;31mError:\033[0m" if coloured else "Error:"
        print(f"{word} {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _run(arguments: list[str]) -> int:
    # A shell that completes our words.
    if os.environ.get("_TASK_SERVER_COMPLETE"):
        from task_server.cli import completions  # noqa: PLC0415

        completions.answer(arguments)
        return 0
    # Imported where they are needed: a health check must not wait for click.
    if arguments[:1] == ["health"]:
        from task_server.health import command  # noqa: PLC0415

        return command.main(arguments[1:], os.environ)
    from task_server.cli import cli  # noqa: PLC0415

    cli(arguments, prog_name="task-server")
    return 0


if __name__ == "__main__":
    main()
