"""
`task-server health NAME`: is this worker, or another service, alive, and is it ready?

`task_server.health.quick` answers what orchestrators ask several times a minute; this answers
the rest. Arguments are parsed with the standard library: importing click alone takes longer
than everything else here.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from task_server.config import values
from task_server.config.loader import find, load
from task_server.config.model import Config
from task_server.config.services import Service, service_of
from task_server.health.answer import answer
from task_server.health.of_up import of_up
from task_server.health.verdict import Verdict
from task_server.launch.timing import Timing

EXAMPLES = """\
examples:
  task-server health prefork            exit 0 unless it needs a restart
  task-server health gevent --ready     exit 0 while it fetches tasks
  task-server health flower --ready     exit 0 while Flower and the broker answer
  task-server health beat --ready       exit 0 while it sends, or waits for one that does
  task-server health metrics --ready    exit 0 while they answer, and Redis
"""


class Check(Protocol):
    """Returns the verdict on the worker *name*, or on the service of that name."""

    def __call__(
        self,
        config: Config,
        name: str,
        environ: Mapping[str, str],
        *,
        ready: bool,
        timing: Timing,
    ) -> Verdict: ...


def check_of(service: Service) -> Check:
    """Return the health check of *service*: `check` of the module that has its name."""
    return cast("Check", import_module(f"task_server.health.{service.name}").check)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """
    Print the verdict on a worker or another service; return 0 if it is healthy, else 1.

    A worker whose Redis is down is alive but not ready: a restart would not
    help. Flower and metrics write no heartbeat, so they are asked over HTTP.

    Raises:
        ConfigError: When the configuration is wrong.
    """
    timing = Timing.from_environ(environ)
    options = _parser(environ, timing.stale).parse_args(arguments)
    config, where = of_up(load(options.config or find(Path.cwd()), environ), options.name, environ)
    found = check_of(service_of(options.name))(
        config,
        options.name,
        environ,
        ready=options.ready,
        timing=replace(timing, stale=options.stale),
    )
    return answer(options.name, found, ready=options.ready, as_json=options.json, where=where)


def _seconds(word: str) -> float:
    try:
        return float(values.seconds(1)(word))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser(environ: Mapping[str, str], stale_after: float) -> argparse.ArgumentParser:
    config = environ.get("TASK_SERVER_CONFIG")
    stale = environ.get("TASK_SERVER_STALE", stale_after)
    parser = argparse.ArgumentParser(
        prog="task-server health",
        description="Check a worker or beat by its heartbeat, Flower or metrics over HTTP.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="a worker, flower, beat or metrics")
    parser.add_argument(
        "--ready",
        action="store_true",
        default=environ.get("TASK_SERVER_READY", "").lower() in ("1", "true", "yes", "on"),
        help="also require that it fetches tasks (Flower, metrics: that the broker answers) "
        "[TASK_SERVER_READY]",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=environ.get("TASK_SERVER_JSON", "").lower() in ("1", "true", "yes", "on"),
        help="one JSON object: alive, ready, reason, and of a worker its numbers and the task "
        "that runs for longest [TASK_SERVER_JSON]",
    )
    parser.add_argument(
        "--stale",
        type=_seconds,
        default=stale,
        metavar="SECONDS",
        help=f"the event loop counts as blocked when the heartbeat is this old ({stale}) "
        "[TASK_SERVER_STALE]",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(config) if config else None,
        help="the configuration file (TOML) [TASK_SERVER_CONFIG]",
    )
    return parser
