"""Messages that kill who takes them, and such as nobody can read."""

import json

import pytest

from tests.support.scene import Scene
from tests.support.worker import EITHER

pytestmark = pytest.mark.slow


def test_a_task_that_kills_its_process(scene: Scene) -> None:
    """
    That there is a dead letter, of which queue, its id; and by what that says to run, whom it
    crashed when.
    """
    worker = scene.worker("prefork", poison_limit=1)
    node = worker.heartbeat().node
    task = scene.send("die")

    said = scene.wrong("dead letters", "1 of celery: they crashed their workers")

    assert 1 == said.code
    assert f": site1.tasks.die[{task}] -> task-server dead list" in said.wrong["dead letters"]
    listed = scene.run("dead", "list").stdout
    assert f"{task}  site1.tasks.die" in listed
    assert f"{node} (pid {worker.pid}): child died" in listed
    page = scene.page("failedtask/")
    assert "1 of celery: they crashed their workers" in page
    assert task in page
    assert 1 == scene.scraped("task_server_queue_dead_letters", queue_name="celery")
    scene.alert("TaskServerDeadLetters")


@pytest.mark.parametrize("pool", EITHER)
def test_messages_that_cannot_be_read(pool: str, scene: Scene) -> None:
    """
    How many, of which queue, and why; the worker goes on, and its log says more.
    """
    worker = scene.worker(pool)
    scene.broker.client.lpush("celery", "no JSON", json.dumps({"body": "?"}))
    scene.send("add", 1, 2)

    said = scene.wrong("unreadable", "2 of celery cannot be delivered")

    assert 1 == said.code
    assert "cannot be delivered: " in said.wrong["unreadable"]
    assert "not JSON" in said.wrong["unreadable"] or "KeyError" in said.wrong["unreadable"]
    assert "the workers' log has the reasons" in said.wrong["unreadable"]
    reasons = [line for line in worker.output().splitlines() if "unacked.unreadable" in line]
    assert 2 == len(reasons)
    assert all("queue celery" in line for line in reasons)
    assert "2 of celery cannot be delivered" in scene.page("queue/")
    assert 2 == scene.scraped("task_server_queue_unreadable_messages", queue_name="celery")
    scene.alert("TaskServerUnreadableMessages")
