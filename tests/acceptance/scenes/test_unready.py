"""A worker whose own health check says that it gets on with nothing."""

import pytest

from tests.support.scene import Scene
from tests.support.worker import EITHER

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("pool", EITHER)
def test_a_worker_that_is_not_ready(pool: str, scene: Scene) -> None:
    """
    What health says on its host is said from Redis too, with where to ask further.
    """
    worker = scene.worker(pool, task_unready_seconds=1)
    node = worker.heartbeat().node
    task = scene.send("hold", 1, 600)

    said = scene.wrong(node, "not ready: ")

    assert 1 == said.code
    assert f"not ready: site1.tasks.hold[{task}] has run for " in said.wrong[node]
    assert "(task_unready_seconds is 1)" in said.wrong[node]
    assert "task-server health w" in said.wrong[node]
    assert f"Not ready site1.tasks.hold[{task}] has run for " in scene.page_of(node)
    assert 1 == scene.scraped("task_server_worker_unready", node=node)
    scene.alert("TaskServerWorkerNotReady")
