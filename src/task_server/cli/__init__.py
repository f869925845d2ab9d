"""
The command line: a group whose commands are imported when they are called.

A worker's launcher becomes Celery within a tenth of a second because it does
not import what `up` or `demo` need.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

import click

#: The module of each command, in the order of the help. A new command is a module
#: with `command`, and a row here.
COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "demo": "task_server.cli.demo",
        "init": "task_server.cli.init",
        "up": "task_server.cli.up",
        "down": "task_server.cli.down",
        "ps": "task_server.cli.ps",
        "logs": "task_server.cli.logs",
        "restart": "task_server.cli.restart",
        "env": "task_server.cli.env",
        "manage": "task_server.cli.manage",
        "migrations": "task_server.cli.migrations",
        "shell": "task_server.cli.shell",
        "worker": "task_server.cli.worker",
        "status": "task_server.cli.status",
        "pause": "task_server.cli.pause",
        "resume": "task_server.cli.resume",
        "drain": "task_server.cli.drain",
        "requeue": "task_server.cli.requeue",
        "purge": "task_server.cli.purge",
        "audit": "task_server.cli.audit",
        "beat": "task_server.cli.beat",
        "health": "task_server.cli.health",
        "flower": "task_server.cli.flower",
        "metrics": "task_server.cli.metrics",
        "call": "task_server.cli.call",
        "config": "task_server.cli.config",
        "manifests": "task_server.cli.manifests",
        "check": "task_server.cli.check",
        "settings": "task_server.cli.settings",
        "failed": "task_server.cli.failed",
        "dead": "task_server.cli.dead",
        "delayed": "task_server.cli.delayed",
        "completion": "task_server.cli.completion",
    }
)


class Commands(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = import_module(module).command
        assert isinstance(command, click.Command)  # noqa: S101 - our own table
        return command


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's interface
    if not wanted or context.resilient_parsing:
        return
    from importlib.metadata import version  # noqa: PLC0415

    from task_server.cli.revision import revision  # noqa: PLC0415

    click.echo(f"task-server, version {version('task-server')} (revision {revision()})")
    context.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="""
\b
Examples:
  task-server demo                    the whole system at work, on built-in documents
  task-server demo ~/briefs           the same on your PDF files
  task-server up --app cl             servers, workers and Flower for your project
  task-server worker gevent           one worker, in the foreground
""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and the revision, and exit.",
)
def cli() -> None:
    """Run Celery for Django, reproducibly."""
