"""
The limit in a real Celery worker on a real Redis (Valkey).
"""

import subprocess
import sys

from tests.integration.database.database_server import Sampler, Server
from tests.integration.database.pooled_worker import environ_of, worker_of

ENQUEUE = """
from celery import group
import pooled
result = group(pooled.sleep_in_the_server.s(0.1) for _ in range(512)).apply_async()
print(len(set(result.get(timeout=120))), result.completed_count())
"""


def test_512_tasks_of_a_celery_worker_share_20_connections(server: Server, redis_url: str) -> None:
    """
    All end, on some of 20 sessions again and again, though Celery closes around each task.

    15 are at work, or more where a machine stands still: the others are for when nothing moves.
    """
    environ = environ_of(server, redis_url)
    with (
        worker_of(server, [sys.executable], 512, environ),
        Sampler(server) as sampler,
    ):
        done = subprocess.run(
            [sys.executable, "-c", ENQUEUE],
            check=True,
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
            timeout=150,
        )

    sessions, completed = map(int, done.stdout.split())
    assert 512 == completed
    assert 2 <= sampler.most <= 20
    assert 2 <= sessions <= 20
