"""`task-server completion SHELL`: the script that lets a shell complete our words."""

import click
from click.shell_completion import get_completion_class

from task_server.cli.completions import VARIABLE

#: Where each shell reads it.
SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog="""
\b
Examples:
  eval "$(task-server completion bash)"                in ~/.bashrc
  eval "$(task-server completion zsh)"                 in ~/.zshrc, after compinit
  task-server completion fish > ~/.config/fish/completions/task-server.fish
"""
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """
    Print the script that completes commands, options, workers, queues and tasks in SHELL.

    Tasks and queues are the project's: it is imported in the background, so that they are there
    from the second time on.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all three
    click.echo(kind(ctx.find_root().command, {}, "task-server", VARIABLE).source())
