"""`task-server up`: the whole system for a project, in one terminal."""

import os
import shlex
import signal
from contextlib import ExitStack
from pathlib import Path

import click

from task_server.cli.options import (
    app_option,
    config_option,
    resolved,
    state_option,
    traceback_option,
    unknown_worker,
)
from task_server.errors import TaskServerError
from task_server.launch import requirements
from task_server.launch.folders import MEDIA_VARIABLE
from task_server.local import State, Supervisor
from task_server.local.discovery.discover import Discovery
from task_server.local.discovery.plan import ServerPlan, databases_to_migrate, plan_servers
from task_server.local.discovery.protocol import Answer
from task_server.local.system import System, database_of
from task_server.project.import_errors import TRACEBACK_VARIABLE

#: The workers of `up`; `all` would take from the same queues.
WORKERS = ("prefork", "gevent")


@click.command(
    epilog="""
\b
Examples:
  task-server up                              the project in this folder
  task-server up --app cl --migrate           on its own database, too
  task-server up --worker bulk --worker gevent
  DATABASE_URL=postgresql://… task-server up  where the settings take it from there
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
    default=None,
    envvar="TASK_SERVER_MIGRATE",
    show_envvar=True,
    help="Run the project's migrations first, on all databases that it names; or on none.  "
    "[default: on those alone that are started here]",
)
@click.option(
    "--flower-port",
    type=click.IntRange(0, 65535),
    envvar="TASK_SERVER_FLOWER_PORT",
    show_envvar=True,
    help="TCP port of Flower; 0 is any free one.  [default: 5555]",
)
@traceback_option
def command(
    app: str | None,
    path: Path | None,
    state: Path,
    workers: tuple[str, ...],
    *,
    migrate: bool | None,
    flower_port: int | None,
    show_traceback: bool,
) -> None:
    """
    Start the workers and Flower, with the servers they need, and show what they say.

    The project is asked first: what its settings name is used, if it answers. A Redis
    or PostgreSQL is started for what they take from REDIS_URL, CELERY_BROKER_URL or
    DATABASE_URL where nobody sets those, and for a broker that nobody names. Ctrl-C
    stops the workers, then the servers.
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
        database = database_of(config)
        click.echo(f"project: reading which servers {config.app} uses", err=True)
        environ = {**os.environ, TRACEBACK_VARIABLE: "1"} if show_traceback else os.environ
        answer = Discovery(config, folder, environ, database=database).run(supervisor)
        plan = plan_servers(answer)
        system = System.find(config, folder, os.environ, plan)
        for line in (*plan.lines, *system.lines()):
            click.echo(line)
        supervisor.start_all(system.servers())
        system.make_databases(plan.databases)
        _migrate(supervisor, system, answer, wanted=migrate)
        _print_variables(system, plan, answer)
        children = [system.worker(name) for name in names]
        flower = system.flower() if requirements.has_flower() else None
        watched = "no Flower (it is in the extra task-server[flower])"
        if flower is not None:
            children.append(flower[0])
            watched = f"Flower is at {flower[1]}"
        supervisor.start_all(children)
        if flower is not None:
            claim.update(flower=flower[1])
        click.echo(f"\nUp: {', '.join(names)}; {watched} (Ctrl-C stops everything)\n")
        number = supervisor.run()
    if number not in (signal.SIGINT, signal.SIGTERM, 0):
        raise SystemExit(128 + number)


def _migrate(
    supervisor: Supervisor, system: System, answer: Answer, *, wanted: bool | None
) -> None:
    """Run the migrations, and say of which databases, by name."""
    chosen = databases_to_migrate(answer, wanted=wanted)
    for database in answer.databases:
        if database not in chosen:
            reason = f"the same as {database.same_as}" if database.same_as else "--migrate does"
            click.echo(f"not migrated: {database} ({database.alias}; {reason})")
    for database in chosen:
        click.echo(f"migrations: {database} ({database.alias})")
        job = system.manage("migrate", ["migrate", "--no-input", f"--database={database.alias}"])
        supervisor.start(job)
        if supervisor.wait(job) != 0:
            raise TaskServerError("The migrations failed; see above, or use --no-migrate.")


def _print_variables(system: System, plan: ServerPlan, answer: Answer) -> None:
    """Print what the project's other processes need, to use the same servers."""
    names = [*plan.variables, *(name for name in (MEDIA_VARIABLE,) if name in answer.read)]
    missing = [name for name in names if name not in os.environ and name in system.environ]
    if not missing:
        return
    click.echo("\nThe project's other processes, such as its web server, need:")
    for name in missing:
        # What has been given to us may hold a password, and is known to who gave it.
        given = system.environ[name] == os.environ.get("REDIS_URL")
        value = '"$REDIS_URL"' if given else shlex.quote(system.environ[name])
        click.echo(f"  export {name}={value}")


def already_up(folder: State, owner: dict[str, object]) -> str:
    """Tell that *owner* runs in *folder* already."""
    flower = f"; Flower is at {owner['flower']}" if "flower" in owner else ""
    return (
        f"task-server is up already in {folder.path} (pid {owner.get('pid', '?')}, project "
        f"{owner.get('app', '?')}){flower}. Stop it with Ctrl-C, or choose another --state."
    )
