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


ODD = (
    "",
    "nan",
    "inf",
    "1e400",
    "-1",
    "9" * 5000,
    "\u0664",
    "\udcff",
    "a\nb",
    "/dev/full",
    "=",
    "*",
)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        pytest.param(command, option, id=f"{name} {option.name}")
        for name, command in commands()
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag
    ],
)
def test_an_odd_value_of_an_option_is_taken_or_wrong_usage(
    command: click.Command, option: click.Option
) -> None:
    """
    No value ends in a traceback, and no number is infinite or none.
    """
    required = ["x"] * sum(isinstance(one, click.Argument) for one in command.params)
    for value in ODD:
        try:
            context = command.make_context("x", [f"{option.opts[0]}={value}", *required])
        except click.UsageError:
            continue
        given = context.params[option.name or ""]
        assert not isinstance(given, float) or 0 <= given < 10**8


@pytest.mark.parametrize(
    ("path", "variable", "option"),
    [
        ("flower", "TASK_SERVER_FLOWER_PORT", "port"),
        ("up", "TASK_SERVER_FLOWER_PORT", "flower_port"),
        ("metrics", "TASK_SERVER_METRICS_PORT", "port"),
    ],
)
def test_a_port_that_a_cluster_wrote_is_none(
    path: str, variable: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Kubernetes describes a service called task-server-metrics so to every container beside it.
    """
    command = dict(commands())[path]
    found = []
    for value in ("tcp://10.0.0.7:9808", "9109"):
        monkeypatch.setenv(variable, value)
        found.append(command.make_context(path, []).params[option])

    assert [None, 9109] == found
