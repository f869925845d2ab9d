"""A task that hangs in C code, where no time limit and no signal reaches it."""

import os
import signal

import pytest

from tests.support.scene import SOON, Scene
from tests.support.wait import until

pytestmark = pytest.mark.slow

#: So many have ended before, so that it is known how long it usually takes.
BEFORE = 20


def hangs(scene: Scene, how: str) -> str:
    """Send a task that does, once it is known how long it usually takes; return its id."""
    for _ in range(BEFORE):
        scene.send("hang", "not")
    ended = "celery_task_succeeded_total"
    until(lambda: scene.scraped(ended, name="site1.tasks.hang") == BEFORE)
    return scene.send("hang", how)


def test_in_a_process_of_prefork(scene: Scene) -> None:
    """
    The task, its id, for how long, what is usual, its limit, and which process to look at or end.
    """
    worker = scene.worker("prefork", concurrency=1)
    node = worker.heartbeat().node
    task = hangs(scene, "with")

    said = scene.wrong(node, "has been running for")
    (child,) = worker.children()

    assert f"error: site1.tasks.hang[{task}] has been running for " in said.wrong[node]
    assert " s (usual " in said.wrong[node]
    assert "limit 5 s)" in said.wrong[node]
    assert "its limit does not end it, so it hangs in C code" in said.wrong[node]
    assert f"py-spy dump --pid {child} on" in said.wrong[node]
    assert f"kill -9 {child} ends it" in said.wrong[node]
    assert task in scene.page_of(node)
    assert "it hangs in C code" in scene.page_of(node)
    assert 1 == scene.scraped("task_server_worker_tasks_over_limit", node=node)
    scene.alert("TaskServerTaskHangs")
    # What it says to do helps: the next process has it.
    os.kill(child, signal.SIGKILL)
    until(lambda: set(worker.children()) - {child})
    until(lambda: scene.scraped("task_server_worker_tasks_over_limit", node=node) == 0)


@pytest.mark.parametrize("keeps_lock", [True, False])
def test_in_the_loop_of_gevent(scene: Scene, *, keeps_lock: bool) -> None:
    """
    The worker, since when it is silent, and the task. Where Python's lock is free, a thread of it
    renews the lease, so that nobody else gets the task: that is said too.
    """
    seconds = 3600 if keeps_lock else 6
    node = scene.worker("gevent", lease_seconds=seconds, timing=SOON).heartbeat().node
    task = hangs(scene, "with" if keeps_lock else "without")

    said = scene.wrong(node, "until" if keeps_lock else "its process lives")

    assert f"error: {node}: silent since " in " ".join(said.text.split())
    assert "1 messages are its own until " in said.wrong[node]
    assert f"site1.tasks.hang[{task}] (for " in said.wrong[node]
    assert " s, usual " in said.wrong[node]
    look = f"task-server health w on {said.worker(node)['host']} says whether it is stopped, hangs"
    assert look in said.wrong[node]
    first = "what it has runs elsewhere then" if keeps_lock else "restart it"
    assert f"-> {first}" in said.wrong[node]
    assert (node, [task]) == (
        said.worker(node)["node"],
        [held["id"] for held in said.worker(node)["in_flight"]],
    )
    page = scene.page_of(node)
    assert "silent" in page
    assert task in page
    assert 0 == scene.scraped("celery_worker_up", node=node)
    assert 1 == scene.scraped("task_server_worker_silent_in_flight", node=node)
    scene.alert("TaskServerSilentWorkerHoldsTasks", "TaskServerWorkerSilent")
