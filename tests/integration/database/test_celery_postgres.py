"""
The limit in a real Celery worker on a real Redis (Valkey).
"""

import os
import subprocess
import sys

from tests.integration.database.database_server import SOURCES, Sampler, Server
from tests.support.worker import PROJECT

ENQUEUE = """
from celery import group
import pooled
result = group(pooled.sleep_in_the_server.s(0.1) for _ in range(512)).apply_async()
print(len(set(result.get(timeout=120))), result.completed_count())
"""


def test_512_tasks_of_a_celery_worker_share_20_connections(server: Server, redis_url: str) -> None:
    """
    All end, on the 15 sessions that are no reserve, though Celery closes around each task.
    """
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(SOURCES), str(PROJECT)]),
        "TEST_DATABASE_HOST": str(server.folder),
        "TEST_BROKER_URL": f"redis+socket://{redis_url}",
    }
    worker = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "celery",
                "-A",
                "pooled",
                "worker",
                "--pool=gevent",
                "-c",
                "512",
            ),
            *("--loglevel=warning", "--without-gossip", "--without-mingle"),
        ],
        env=environ,
    )
    try:
        with Sampler(server) as sampler:
            done = subprocess.run(
                [sys.executable, "-c", ENQUEUE],
                check=True,
                env=environ,
                stdout=subprocess.PIPE,
                text=True,
                timeout=150,
            )
    finally:
        worker.kill()
        worker.wait(10)

    sessions, completed = map(int, done.stdout.split())
    assert 512 == completed
    assert 15 == sampler.most
    assert 15 == sessions
