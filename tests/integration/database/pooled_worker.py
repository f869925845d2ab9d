"""A worker of plain Celery that runs the app `pooled`, whose tasks use PostgreSQL under gevent."""

import os
from collections.abc import Mapping, Sequence

from tests.integration.database.database_server import SOURCES, Server
from tests.support.worker import PROJECT, Worker


def environ_of(server: Server, redis_path: str) -> dict[str, str]:
    """Return the variables of the worker, and of programs that send to it."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(SOURCES), str(PROJECT)]),
        "TEST_DATABASE_HOST": str(server.folder),
        "TEST_BROKER_URL": f"redis+socket://{redis_path}",
    }


def worker_of(
    server: Server, python: Sequence[str], concurrency: int, environ: Mapping[str, str]
) -> Worker:
    """Start the worker with *python*, which has a driver."""
    command = (
        *(*python, "-m", "celery", "-A", "pooled", "worker", "--pool=gevent"),
        *(f"--concurrency={concurrency}", "--loglevel=warning"),
        *("--without-gossip", "--without-mingle"),
    )
    return Worker(server.folder, None, "gevent", name="pooled", command=command, environ=environ)
