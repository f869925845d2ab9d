"""Three rollouts while tasks run: each runs once, and the new pods take them."""

from tests.kubernetes.lab import descriptions, images
from tests.kubernetes.lab.pods import image, is_ready, names
from tests.kubernetes.lab.shop import Shop

#: Of each task, before each rollout.
TASKS = 500


def test_tasks_run_once_through_three_rollouts(shop: Shop) -> None:
    """
    3,000 tasks of prefork and gevent; when `rollout status` ends, only new pods are there, and
    each has taken tasks.
    """
    shop.release()
    sent = 0
    for release in images.RELEASES[1:]:
        for task, seconds in (("work", 0.2), ("visit", 5.0)):
            shop.send(task, range(sent, sent + TASKS), seconds)
            sent += TASKS
        shop.describe(descriptions.shop(shop.name, release))
        shop.apply()

        shop.rolled_out()

        new = names(pod for pod in shop.workers() if image(pod) == release and is_ready(pod))
        assert 4 == len(new), shop.kubectl.shown()
        shop.wait(lambda new=new: new <= shop.runs.hosts(), "each new pod to take a task")  # type: ignore[misc]

    shop.have_ended(sent)

    assert 3000 == sent
    assert dict.fromkeys(range(sent), 1) == shop.runs.began()
    assert dict.fromkeys(range(sent), 1) == shop.runs.ended()
    shop.wait(shop.is_empty, "every message to be acknowledged")
