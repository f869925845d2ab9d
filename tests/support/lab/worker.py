"""Workers of the app `marks` with either transport, and Celery's own command line."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.marks import Marks
from tests.support.redis import Broker
from tests.support.wait import PATIENCE, until
from tests.support.worker import PROJECT, Worker

SOURCES = Path(__file__).parents[3] / "src"

#: Celery's arguments for each pool.
POOLS = {"prefork": ("--pool=prefork", "-c2"), "gevent": ("--pool=gevent", "-c50")}

#: The same as settings of ours.
CONCURRENCY = {"prefork": 2, "gevent": 50}

#: What the command lines of an old task server had besides.
OLD = ("--events", "--loglevel=info")


def start(
    transport: str,
    pool: str,
    broker: Broker,
    marks: Marks,
    *,
    visibility: float | None = 2,
    acks: str = "late",
    arguments: Sequence[str] = (),
    prefix: Sequence[str] = (),
    app: str = "marks",
    concurrency: int | None = None,
    **environ: str,
) -> Worker:
    """
    Start a worker: `task-server worker`, or a command line of Celery's.

    Args:
        transport: Ours ("atomic") or Kombu's ("kombu").

        visibility: The visibility time-out in seconds; None is Celery's own.

        acks: "late" or "early"; a command line of Celery's takes "early" as
            its default, without a word about it.

        arguments: Start `celery worker` with these instead of `task-server worker`.

        prefix: A command that it is started by, such as `ip netns exec`.

        concurrency: Of `task-server worker`; unset, that of its pool.

        environ: More variables.
    """
    name = f"{transport}-{pool}-{acks}{environ.get('NUMBER', '')}-{broker.number}"
    added = {
        "PYTHONPATH": os.pathsep.join([str(SOURCES), str(PROJECT)]),
        "TRANSPORT": transport,
        "BROKER": broker.url,
        **environ,
    }
    command: tuple[str, ...] = ()
    if arguments:
        command = (
            *(sys.executable, "-m", "celery", "-A", app, "worker", *arguments),
            *("--without-gossip", "--without-mingle", f"--hostname={name}@%h"),
        )
        added["BARE"] = acks
        if visibility is not None:
            added["VISIBILITY_TIMEOUT"] = str(visibility)
    return Worker(
        *(broker.folder, broker, pool),
        name=name,
        marks=marks,
        app=app,
        # A version of ours without this setting is started, too: it is in the path.
        code=None,
        visibility_timeout=visibility or 3600,
        environ=added,
        prefix=prefix,
        command=command,
        transport=transport,
        delivery="at-least-once" if acks == "late" else "at-most-once",
        queues=["celery"],
        concurrency=concurrency or CONCURRENCY[pool],
        log_level="warning",
        # That of its pool.
        drain_seconds=None,
    )


def drain(broker: Broker, marks: Marks, seconds: float = PATIENCE) -> None:
    """Let a worker of the atomic transport run what is left, restored messages included."""
    with start("atomic", "gevent", broker, marks, visibility=2, NUMBER="drain"):
        until(broker.is_empty, "the queue to be empty", seconds)
