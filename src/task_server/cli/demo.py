"""`task-server demo`: the main job, from nothing to a table of documents."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from task_server.cli.options import environ_with, state_option
from task_server.cli.report import Report
from task_server.config.loader import resolve
from task_server.config.services import SERVICES, WORKER
from task_server.errors import TaskServerError
from task_server.local import State, Supervisor
from task_server.local.system import System

#: The project whose documents the demo works on, and its workers.
APP = "docket"
WORKERS = ("prefork", "gevent")

#: Variables of another project, whose database and queues the demo must not touch.
FOREIGN = frozenset(
    {
        "REDIS_URL",
        "REDIS_CLIENT_URL",
        "DATABASE_URL",
        "DJANGO_SETTINGS_MODULE",
        "CREDENTIALS_DIRECTORY",
        "TASK_SERVER_CODE",
        "TASK_SERVER_SETTINGS_MODULE",
        "TASK_SERVER_SETTINGS_PATH",
    }
)
FOREIGN_PREFIXES = ("PG", "CELERY_", "TASK_SERVER_BROKER_URL", "TASK_SERVER_RESULT_BACKEND")


@click.command(
    epilog="""
\b
Examples:
  task-server demo                                 documents of its own
  task-server demo brief.pdf ~/opinions            a file, and the PDF files of a folder
  task-server demo https://example.org/brief.pdf   over the network
  task-server demo --repeat 40 ~/opinions          each document forty times
  task-server demo --json | jq .tasks_per_second
"""
)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "--repeat",
    type=click.IntRange(1),
    default=1,
    envvar="TASK_SERVER_REPEAT",
    show_envvar=True,
    help="Passes over the documents.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="TASK_SERVER_JSON",
    show_envvar=True,
    help="One JSON object on standard output; progress goes to standard error.",
)
@click.option(
    "--keep",
    is_flag=True,
    envvar="TASK_SERVER_KEEP",
    show_envvar=True,
    help="Keep running afterwards, with Flower, until Ctrl-C.",
)
@click.option(
    "--given",
    is_flag=True,
    envvar="TASK_SERVER_DEMO_GIVEN",
    show_envvar=True,
    help="Use, and migrate, the servers that REDIS_URL and DATABASE_URL name.",
)
@state_option
def command(
    sources: tuple[str, ...], state: Path, *, repeat: int, as_json: bool, keep: bool, given: bool
) -> None:
    """
    Fetch and read court documents with both workers, and print the results.

    SOURCE is a PDF file, a folder of them, or an http(s) URL. Each document is
    fetched by the gevent worker (queue io_bound), then read by the prefork
    worker (queue celery). The table has the reason where one cannot be read.

    The demo starts servers of its own: variables and files here that configure
    another project are ignored.
    """
    missing = [source for source in sources if "://" not in source and not Path(source).exists()]
    if missing:
        listed = "; ".join(f"{source}: no such file or folder" for source in missing)
        raise click.BadParameter(listed, param_hint="SOURCE")
    if find_spec(APP) is None:
        raise TaskServerError(
            "The demo runs the project docket, a distribution of its own that is not installed "
            "here; run it in a checkout of task-server's repository: uv run task-server demo."
        )
    console = Console(stderr=as_json)
    folder = State.open(state)
    holder = folder.lock_holder()
    # An `up` that is running has the environment of its servers.
    environ = dict(os.environ) if holder is not None or given else own_environ(os.environ)
    config = resolve(None, environ_with(environ, app=APP)).config
    with ExitStack() as stack:
        if holder is None:
            lock = stack.enter_context(folder.lock({"app": APP, "command": "demo"}))
        elif holder.get("app") != APP:
            raise TaskServerError(
                f"{folder.path} is in use by the project {holder.get('app', '?')} "
                f"(pid {holder.get('pid', '?')}); choose another --state."
            )
        supervisor = stack.enter_context(Supervisor(sys.stderr, environ=environ))
        report = stack.enter_context(Report(console))
        system = System.find(config, folder, environ)
        report.say("\n".join(system.lines()))
        flower_url = holder.get("flower") if holder else None
        if holder is None:
            supervisor.start_all(system.servers(quiet=True))
            _migrate(supervisor, system)
            children = [system.process(WORKER, name, quiet=True)[0] for name in WORKERS]
            if keep:
                flower, flower_url = system.process(SERVICES["flower"], "flower", quiet=True)
                children.append(flower)
                lock.update(flower=flower_url)
            report.say(f"workers: {', '.join(WORKERS)}")
            supervisor.start_all(children)
        else:
            report.say(f"workers: those of the running task-server (pid {holder.get('pid')})")
        result = _ingest(supervisor, system, report, sources, repeat)
        report.close()
        if as_json:
            click.echo(json.dumps(result))
        else:
            report.show(result)
        if result["ended"] != result["jobs"]:
            raise TaskServerError(f"{result['jobs'] - result['ended']} jobs did not finish.")
        if keep and holder is None:
            report.say(f"Flower is at {flower_url}; press Ctrl-C to stop.")
            supervisor.run()


def own_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without what leads to another project's database or queues."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(FOREIGN_PREFIXES) and name not in FOREIGN
    }


def _migrate(supervisor: Supervisor, system: System) -> None:
    job = system.manage("migrate", ["migrate", "--no-input"], quiet=True)
    supervisor.start(job)
    if supervisor.wait(job) != 0:
        lines = "\n  ".join(supervisor.last_lines(job))
        raise TaskServerError(f"The migrations failed:\n  {lines}")


def _ingest(
    supervisor: Supervisor,
    system: System,
    report: Report,
    sources: tuple[str, ...],
    repeat: int,
) -> dict[str, Any]:
    """Run docket's `ingest` to its end, and return its last event, the results."""
    given = sources or ("--sample", f"--sample-dir={system.state.folder('samples')}")
    end: dict[str, Any] = {}

    def on_line(line: str) -> None:
        event = json.loads(line)
        report.progress(event)
        if event.pop("event") == "end":
            end.update(event)

    job = system.manage(
        "ingest",
        ["ingest", "--json-lines", f"--repeat={repeat}", "--wait", *given],
        on_line,
        quiet=True,
    )
    supervisor.start(job)
    returncode = supervisor.wait(job)
    if not end:
        lines = "\n  ".join(supervisor.last_lines(job))
        raise TaskServerError(
            f"The documents could not be ingested (exit {returncode}):\n  {lines}"
        )
    return end
