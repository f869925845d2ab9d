"""
`task-server health NAME`: is this worker, or Flower, alive, and is it ready?

Health checks run every few seconds beside hundreds of workers, so this command
is parsed with the standard library: click alone takes longer to import than
all of the rest here to run.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from task_server.config import values
from task_server.config.loader import find, load
from task_server.health import flower as flower_probe
from task_server.health import folder as runtime
from task_server.health import heartbeat as probe

EXAMPLES = """\
examples:
  task-server health prefork            exit 0 while a restart would not help
  task-server health gevent --ready     exit 0 while it takes tasks
  task-server health flower --ready     exit 0 while Flower and the broker answer
"""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """
    Print what the heartbeat of a worker says, and return 0 if it is well, else 1.

    A worker whose Redis is away is alive and not ready: a restart would not
    help it. Flower has no heartbeat and is asked itself.

    Raises:
        ConfigError: When the configuration is wrong.
    """
    options = _parser(environ).parse_args(arguments)
    config = load(options.config or find(Path.cwd()), environ)
    if options.name == flower_probe.NAME:
        verdict = flower_probe.check(config, broker=options.ready)
    else:
        folder = runtime.folder(config, environ, os.getuid())
        owner = runtime.owner(config, environ, os.getuid())
        verdict = probe.check(folder, options.name, probe.Limits(stale=options.stale), owner)
    word = "ready" if verdict.ready else "alive, not ready" if verdict.alive else "dead"
    print(f"{options.name}: {word}: {verdict.reason}")
    return 0 if (verdict.ready if options.ready else verdict.alive) else 1


def _seconds(word: str) -> float:
    try:
        return float(values.seconds(1)(word))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    config = environ.get("TASK_SERVER_CONFIG")
    stale = environ.get("TASK_SERVER_STALE", probe.Limits().stale)
    parser = argparse.ArgumentParser(
        prog="task-server health",
        description="Read the heartbeat of a worker, or ask Flower, and say why it is well or not.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the worker, or flower")
    parser.add_argument(
        "--ready",
        action="store_true",
        default=environ.get("TASK_SERVER_READY", "").lower() in ("1", "true", "yes", "on"),
        help="ask whether it takes tasks (Flower: whether the broker answers too), "
        "not only whether it is alive [TASK_SERVER_READY]",
    )
    parser.add_argument(
        "--stale",
        type=_seconds,
        default=stale,
        metavar="SECONDS",
        help=f"a loop is stuck without a heartbeat for so long ({stale}) [TASK_SERVER_STALE]",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(config) if config else None,
        help="the configuration (TOML) [TASK_SERVER_CONFIG]",
    )
    return parser
