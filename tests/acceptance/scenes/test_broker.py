"""A Redis that is nearly full, and one that is not there."""

from collections.abc import Iterator

import pytest

from tests.support.scene import Scene
from tests.support.wait import until

#: Of the server's memory; more than the rule says, and nothing is refused yet.
SHARE = 0.95


@pytest.fixture
def full(scene: Scene) -> Iterator[Scene]:
    """Let what lies in the server be most of what it may have."""
    client = scene.broker.client
    client.lpush("io_bound", *["x" * 10_000] * 3_000)
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", int(used / SHARE))
    yield scene
    client.config_set("maxmemory", 0)


def test_nearly_full(full: Scene) -> None:
    """
    How full of how much, what happens then, and the queue that has the most.
    """
    said = full.wrong("Redis", "of maxmemory")

    assert 1 == said.code
    assert "error: Redis: uses 9" in said.text
    assert "full, it refuses every new message" in said.wrong["Redis"]
    assert "let workers catch up: 3000 wait in io_bound" in said.wrong["Redis"]
    assert "uses 9" in full.page("queue/")
    assert (full.scraped("task_server_broker_memory_bytes") or 0) > 0
    full.alert("TaskServerRedisMemory", "TaskServerNobodyConsumes", "TaskServerQueueLong")


def test_absent(scene: Scene) -> None:
    """
    Each says so, and where it looked; and goes on when it is back.
    """
    scene.broker.stop()
    try:
        said = scene.run("status")
        page = scene.page("queue/")
        scene.alert("TaskServerRedisUnreachable")
    finally:
        scene.broker.start()

    assert 69 == said.returncode
    assert f"127.0.0.1:{scene.broker.port}" in said.stderr
    assert "The broker cannot be read:" in page
    assert f"127.0.0.1:{scene.broker.port}" in page
    until(lambda: scene.scraped("task_server_up") == 1)
    assert scene.is_well()
