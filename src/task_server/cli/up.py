"""`task-server up`: the whole system for a project, in one terminal."""

import os
import shlex
import signal
from collections.abc import Sequence
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
from task_server.config.services import SERVICES
from task_server.errors import TaskServerError
from task_server.launch.folders import MEDIA_VARIABLE
from task_server.launch.services import LAUNCHERS
from task_server.local import State, Supervisor
from task_server.local.discovery.discover import Discovery
from task_server.local.discovery.plan import ServerPlan, databases_to_migrate, plan_servers
from task_server.local.discovery.protocol import Answer
from task_server.local.system import System, database_of
from task_server.project.import_errors import TRACEBACK_VARIABLE

#: The default; the worker `all` consumes the queues of both.
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
    help="A worker to start; repeatable.  [default: prefork and gevent]",
)
@click.option(
    "--migrate/--no-migrate",
    default=None,
    envvar="TASK_SERVER_MIGRATE",
    show_envvar=True,
    help="Run the migrations first, on all databases in the project's settings; or on none.  "
    "[default: on those started here]",
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
    Start the workers and Flower, with the servers they need, and print their output.

    The servers that the project's settings name are used, and must answer. A Redis or
    PostgreSQL is started where the settings read REDIS_URL, CELERY_BROKER_URL or
    DATABASE_URL and the variable is not set, or where they name no broker. Ctrl-C
    stops the workers, then the servers.
    """
    config = resolved(path, app=app, flower_port=flower_port).config
    names = workers or WORKERS
    unknown = [name for name in names if name not in config.workers]
    if unknown:
        raise click.BadParameter(unknown_worker(config, unknown[0]), param_hint="--worker")
    folder = State.open(state)
    with ExitStack() as stack:
        holder = folder.lock_holder()
        if holder is not None:
            raise TaskServerError(already_running(folder, holder))
        lock = stack.enter_context(folder.lock({"app": config.app}))
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
        system.create_databases(plan.databases)
        _migrate(supervisor, system, answer, wanted=migrate)
        _print_variables(system, plan, answer)
        urls, lines = _start(supervisor, system, names, answer)
        lock.update(**urls)
        click.echo(f"\nUp: {'; '.join([', '.join(names), *lines])} (Ctrl-C stops everything)\n")
        number = supervisor.run()
    if number not in (signal.SIGINT, signal.SIGTERM, 0):
        raise SystemExit(128 + number)


def _start(
    supervisor: Supervisor, system: System, workers: Sequence[str], answer: Answer
) -> tuple[dict[str, str], list[str]]:
    """Start the services that the project has a use for; return their URLs, and a line each."""
    children = []
    urls = {}
    lines = []
    for service in SERVICES.values():
        if service.only_with is not None and service.only_with not in answer.features:
            continue
        if not LAUNCHERS[service.name].is_installed():
            lines.append(f"no {service.title} (install task-server[{service.extra}])")
            continue
        for name in workers if service.per_worker else (service.name,):
            child, url = system.process(service, name)
            children.append(child)
            if url is not None:
                urls[name] = url
                lines.append(f"{service.title} is at {url}")
    supervisor.start_all(children)
    return urls, lines


def _migrate(
    supervisor: Supervisor, system: System, answer: Answer, *, wanted: bool | None
) -> None:
    """Run the migrations, and print the databases by name."""
    chosen = databases_to_migrate(answer, wanted=wanted)
    for database in answer.databases:
        if database not in chosen:
            reason = f"the same as {database.same_as}" if database.same_as else "use --migrate"
            click.echo(f"not migrated: {database} ({database.alias}; {reason})")
    for database in chosen:
        click.echo(f"migrations: {database} ({database.alias})")
        job = system.manage("migrate", ["migrate", "--no-input", f"--database={database.alias}"])
        supervisor.start(job)
        if supervisor.wait(job) != 0:
            raise TaskServerError("The migrations failed; see above, or use --no-migrate.")


def _print_variables(system: System, plan: ServerPlan, answer: Answer) -> None:
    """Print the variables that lead the project's other processes to the same servers."""
    names = [*plan.variables, *(name for name in (MEDIA_VARIABLE,) if name in answer.read)]
    missing = [name for name in names if name not in os.environ and name in system.environ]
    if not missing:
        return
    click.echo("\nThe project's other processes, such as its web server, need:")
    for name in missing:
        # The user's own REDIS_URL may have a password, and need not be printed.
        is_users = system.environ[name] == os.environ.get("REDIS_URL")
        value = '"$REDIS_URL"' if is_users else shlex.quote(system.environ[name])
        click.echo(f"  export {name}={value}")


def already_running(folder: State, holder: dict[str, object]) -> str:
    """Return the message that *holder* is running in *folder*."""
    services = "".join(
        f"; {service.title} is at {holder[service.name]}"
        for service in SERVICES.values()
        if service.name in holder
    )
    return (
        f"task-server is already running in {folder.path} (pid {holder.get('pid', '?')}, project "
        f"{holder.get('app', '?')}){services}. Stop it with Ctrl-C, or choose another --state."
    )
