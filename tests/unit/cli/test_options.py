"""What holds for every command: variables for options, and help that ends in examples."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from task_server.cli import COMMANDS, cli


def commands(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Return every command with its path, groups included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=str)
def test_every_option_has_an_environment_variable(name: str, command: click.Command) -> None:
    """
    Whatever can be said on the command line can be said in a unit file or a stack.
    """
    options = [one for one in command.params if isinstance(one, click.Option)]

    assert [] == [one.name for one in options if not str(one.envvar).startswith("TASK_SERVER_")]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "health"])
def test_help_ends_in_examples(name: str) -> None:
    """
    The last thing that help says is what people type.
    """
    shown = CliRunner().invoke(cli, [name, "--help"], prog_name="task-server")

    assert 0 == shown.exit_code
    last = shown.output.rpartition("Examples:")[2]
    assert last != shown.output
    assert f"task-server {name}" in last
