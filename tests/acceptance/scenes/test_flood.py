"""Fifty thousand messages in a queue whose worker is busy."""

import pytest

from tests.support.messages import message
from tests.support.scene import Scene
from tests.support.wait import until
from tests.support.worker import EITHER

pytestmark = pytest.mark.slow

MANY = 50_000

#: Messages of one command.
PAGE = 5_000


@pytest.mark.parametrize("pool", EITHER)
def test_a_flood(pool: str, scene: Scene) -> None:
    """
    The queue, how many wait, since when, who takes from it, and that it needs more workers.
    """
    node = scene.worker(pool).heartbeat().node
    busy = [scene.send("hold", number, 600) for number in range(2)]
    until(lambda: scene.broker.unacked() == 2)
    days_ago = scene.broker.client.time()[0] - 3 * 86_400
    scene.send("hold", 2, 600, headers={"task-server-sent": [days_ago, 0]})
    one = message(3, task="site1.tasks.hold")
    for _ in range(MANY // PAGE):
        scene.broker.client.lpush("celery", *[one] * PAGE)

    said = scene.wrong("celery", "its oldest message has waited for 3 d")

    assert 1 == said.code
    assert said.text.startswith("warning: celery: its oldest message has waited for 3 d")
    assert f"{MANY + 1} wait, 1 workers take from it" in said.wrong["celery"]
    assert "add workers, unless one of those below is stuck" in said.wrong["celery"]
    assert [node] == list(said.queue("celery")["consumers"])
    assert set(busy) == {held["id"] for held in said.worker(node)["in_flight"]}
    assert all(task in said.text for task in busy)
    page = scene.page("queue/celery/change/")
    assert "its oldest message has waited for 3 d" in page
    assert node in page
    assert MANY + 1 == scene.scraped("celery_queue_length", queue_name="celery")
    scene.alert("TaskServerQueueLong", "TaskServerQueueOld")
