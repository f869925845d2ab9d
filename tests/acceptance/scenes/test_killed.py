"""A worker that is killed with tasks in hand."""

import pytest

from task_server.monitor import Snapshot
from tests.support.scene import SOON, Scene
from tests.support.wait import until
from tests.support.worker import POOLS

pytestmark = pytest.mark.slow


def held(found: Snapshot, node: str) -> set[str]:
    """Return the ids of the tasks that a worker has."""
    return {one.id for worker in found.workers if worker.node == node for one in worker.in_flight}


@pytest.mark.parametrize("pool", POOLS)
def test_a_killed_worker(pool: str, scene: Scene) -> None:
    """
    Who is silent since when, what is its own until when; then who has it, and that it has nothing.
    """
    worker = scene.worker(pool, lease_seconds=8, timing=SOON)
    node = worker.heartbeat().node
    tasks = {scene.send("hold", number, 600) for number in range(2)}
    until(lambda: scene.scraped("celery_worker_tasks_active", node=node) == 2)
    worker.kill()

    said = scene.wrong(node, "silent since ")

    assert 1 == said.code
    assert said.text.startswith(f"error: {node}: silent since ")
    assert "2 messages are its own until " in said.wrong[node]
    assert all(task in said.wrong[node] for task in tasks)
    assert "what it has" in said.wrong[node]
    page = scene.page_of(node)
    assert all(task in page for task in tasks)
    scene.alert("TaskServerSilentWorkerHoldsTasks", "TaskServerWorkerSilent")

    other = scene.worker(pool, name="other", lease_seconds=8).heartbeat().node
    until(lambda: held(scene.look(), other) == tasks)
    later = scene.status()

    assert later.wrong[node].startswith("warning: silent since ")
    assert "it is forgotten after a day" in later.wrong[node]
    scene.alert("TaskServerWorkerSilent")
