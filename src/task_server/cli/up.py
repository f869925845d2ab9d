"""`task-server up`: the whole system for a project, in one terminal."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import click

from task_server.cli.options import (
    app_option,
    config_option,
    resolved,
    state_option,
    unknown_worker,
)
from task_server.errors import TaskServerError
from task_server.local import State, Supervisor
from task_server.local.system import System

#: The workers of `up`; `all` would take from the same queues.
WORKERS = ("prefork", "gevent")


@click.command(
    epilog="""
\b
Examples:
  task-server up                              the reference project
  task-server up --app cl                     your project, from its own folder
  task-server up --worker bulk --worker gevent
  DATABASE_URL=postgresql://… task-server up  with a PostgreSQL of your own
"""
)
@app_option
@config_option
@state_option
@click.option(
    "--worker",
    "workers",
    multiple=True,
    envvar="TASK_SERVER_UP_WORKERS",
    show_envvar=True,
    help="A worker to start; may be given again.  [default: prefork and gevent]",
)
@click.option(
    "--migrate/--no-migrate",
    default=True,
    envvar="TASK_SERVER_MIGRATE",
    show_envvar=True,
    help="Run the project's migrations first.",
)
@click.option(
    "--flower-port",
    type=click.IntRange(0, 65535),
    envvar="TASK_SERVER_FLOWER_PORT",
    show_envvar=True,
    help="TCP port of Flower; 0 is any free one.  [default: 5555]",
)
def command(
    app: str | None,
    path: Path | None,
    state: Path,
    workers: tuple[str, ...],
    *,
    migrate: bool,
    flower_port: int | None,
) -> None:
    """
    Start Redis, PostgreSQL, the workers and Flower, and show what they say.

    Servers that are given by REDIS_URL and DATABASE_URL, or that run already,
    are used as they are. Ctrl-C stops the workers, then the servers.
    """
    config = resolved(path, app=app, flower_port=flower_port).config
    names = workers or WORKERS
    unknown = [name for name in names if name not in config.workers]
    if unknown:
        raise click.BadParameter(unknown_worker(config, unknown[0]), param_hint="--worker")
    folder = State.open(state)
    with ExitStack() as stack:
        owner = folder.owner()
        if owner is not None:
            raise TaskServerError(already_up(folder, owner))
        claim = stack.enter_context(folder.claim({"app": config.app}))
        supervisor = stack.enter_context(Supervisor(environ=os.environ))
        system = System.find(config, folder, os.environ)
        click.echo(f"redis: {system.redis.where}")
        click.echo(f"postgres: {system.postgres.where}")
        supervisor.start_all(system.servers())
        if migrate:
            job = system.manage("migrate", ["migrate", "--no-input"])
            supervisor.start(job)
            if supervisor.wait(job) != 0:
                raise TaskServerError("The migrations failed; see above, or use --no-migrate.")
        flower, url = system.flower()
        supervisor.start_all([*(system.worker(name) for name in names), flower])
        claim.update(flower=url)
        click.echo(f"\nUp: {', '.join(names)}; Flower is at {url} (Ctrl-C stops everything)\n")
        number = supervisor.run()
    if number not in (signal.SIGINT, signal.SIGTERM, 0):
        raise SystemExit(128 + number)


def already_up(folder: State, owner: dict[str, object]) -> str:
    """Tell that *owner* runs in *folder* already."""
    flower = f"; Flower is at {owner['flower']}" if "flower" in owner else ""
    return (
        f"task-server is up already in {folder.path} (pid {owner.get('pid', '?')}, project "
        f"{owner.get('app', '?')}){flower}. Stop it with Ctrl-C, or choose another --state."
    )
