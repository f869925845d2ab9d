"""Celery: as the old task server started it, as its documentation does, and ours."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.sides.side import Place, Setup, Side

PROJECT = Path(__file__).parents[1] / "project"


def _celery(setup: Setup, place: Place, *arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "celery", f"--app={setup.project}", "worker", *arguments),
        *(f"--queues={','.join(setup.queues)}", f"--concurrency={setup.concurrency}"),
        f"--hostname={setup.pool}{place.number}@%h",
    ]


def old(setup: Setup, place: Place) -> Sequence[str]:
    """Return the command line of the task server that Free Law Project had before."""
    first = ("--events", "--loglevel=info", f"--pool={setup.pool}")
    # It had no multiplier for gevent.
    last = ("--prefetch-multiplier=1",) if setup.pool == "prefork" else ()
    return _celery(setup, place, *first, *last)


def stock(setup: Setup, place: Place) -> Sequence[str]:
    """Return what Celery's documentation shows."""
    return _celery(setup, place, "--loglevel=info", f"--pool={setup.pool}")


def unmonitored(setup: Setup, place: Place) -> Sequence[str]:
    """Return the same, which neither registers nor adds up what it finishes."""
    return ours(setup, place, "monitor = false")


def direct(setup: Setup, place: Place) -> Sequence[str]:
    """Return the same, whose children fetch for themselves."""
    return ours(setup, place, 'fetch = "direct"')


def ours(setup: Setup, place: Place, *more: str) -> Sequence[str]:
    """Return `task-server worker`, with nothing set but what the setup says, and *more*."""
    name = f"{setup.pool}{place.number}"
    path = place.folder / "task-server.toml"
    settings = {
        "pool": setup.pool,
        "queues": list(setup.queues),
        "concurrency": setup.concurrency,
        **({"database_connections": setup.connections} if setup.connections else {}),
    }
    lines = [
        f'app = "{setup.project}"',
        f'runtime_dir = "{place.folder}"',
        f"[workers.{name}]",
        *(f"{key} = {json.dumps(value)}" for key, value in settings.items()),
        *more,
    ]
    path.write_text("\n".join(lines))
    return [sys.executable, "-m", "task_server", "worker", name, "--config", str(path)]


OLD = Side(name="old", words="the old task server", command=old)
STOCK = Side(name="stock", words="celery worker", command=stock)
OURS = Side(name="ours", words="task-server worker", command=ours, producer=True)
UNMONITORED = Side(
    name="unmonitored",
    words="task-server worker with monitor = false",
    command=unmonitored,
    kinds=frozenset({"monitored"}),
    producer=True,
)
UNKEPT = Side(
    name="unkept",
    words="task-server worker that keeps no failed tasks",
    command=ours,
    kinds=frozenset({"failing"}),
    producer=True,
    environ={"TASK_SERVER_FAILURES_KEEP": "0"},
)
DIRECT = Side(
    name="direct",
    words="task-server worker with fetch = direct",
    command=direct,
    kinds=frozenset({"noop", "results", "real"}),
    producer=True,
)
REDIS_PLUS = Side(
    name="celery-redis-plus",
    words="celery worker with the transport celery-redis-plus",
    command=stock,
    packages=("celery-redis-plus",),
    kinds=frozenset({"noop", "noop-green", "results", "send"}),
    own_store=True,
    python=(3, 13),
    environ={"BENCH_TRANSPORT": "celery_redis_plus.transport:Transport"},
)


def against(checkout: Path) -> Side:
    """Return ours, with the sources of another *checkout*."""
    words = f"task-server worker of {checkout.name}"
    return replace(OURS, name="against", words=words, sources=checkout.resolve() / "src")
