"""A process that a signal has stopped: a worker, or one of its pool."""

import os
import signal

import pytest

from tests.support.scene import SOON, Scene
from tests.support.wait import until
from tests.support.worker import EITHER

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("pool", EITHER)
def test_a_worker(pool: str, scene: Scene) -> None:
    """
    Who is silent since when, each task that it has, until when; and it goes on.
    """
    worker = scene.worker(pool, lease_seconds=3600, timing=SOON)
    node = worker.heartbeat().node
    tasks = [scene.send("hold", number, 600) for number in range(2)]
    until(lambda: scene.scraped("celery_worker_tasks_active", node=node) == 2)
    worker.send(signal.SIGSTOP)

    said = scene.wrong(node, "silent since ")
    health = scene.theatre.program("health", "w", "--config", scene.folder / "task-server.toml")

    assert 1 == said.code
    assert said.text.startswith(f"error: {node}: silent since ")
    assert "2 messages are its own until " in said.wrong[node]
    assert all(f"site1.tasks.hold[{task}] (for " in said.wrong[node] for task in tasks)
    assert f"(kill -CONT {worker.pid} lets it go on)" in health.stdout
    page = scene.page_of(node)
    assert "silent since " in page
    assert all(task in page for task in tasks)
    assert 2 == scene.scraped("task_server_worker_silent_in_flight", node=node)
    scene.alert("TaskServerSilentWorkerHoldsTasks", "TaskServerWorkerSilent")
    worker.send(signal.SIGCONT)
    assert scene.is_well()


def test_a_process_of_its_pool(scene: Scene) -> None:
    """
    Which process of which worker, since when, the task that it has; and it goes on.
    """
    worker = scene.worker("prefork")
    node = worker.heartbeat().node
    task = scene.send("hold", 1, 600)
    until(lambda: scene.scraped("celery_worker_tasks_active", node=node) == 1)
    (busy,) = (pid for one in scene.look().workers for pid in one.pids.values())
    os.kill(busy, signal.SIGSTOP)

    said = scene.wrong(node, "is stopped since ")

    assert 1 == said.code
    assert said.text.startswith(f"error: {node}: pool child {busy} is stopped since ")
    assert f"with site1.tasks.hold[{task}]" in said.wrong[node]
    assert f"kill -CONT {busy} lets it go on; kill -9 {busy} ends it" in said.wrong[node]
    assert [busy] == [one["pid"] for one in said.worker(node)["stopped"]]
    page = scene.page_of(node)
    assert f"pool child {busy} is stopped since " in page
    assert f"Stopped processes {busy} (" in page
    assert 1 == scene.scraped("task_server_worker_stopped_children", node=node)
    scene.alert("TaskServerPoolChildStopped")
    os.kill(busy, signal.SIGCONT)
    assert scene.is_well()
