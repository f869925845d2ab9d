"""Three rollouts while tasks run: each runs once, and the new pods take them."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kubernetes.lab import descriptions, images
from tests.kubernetes.lab.pods import image, is_ready, names
from tests.kubernetes.lab.shop import Shop

#: Of each task, before each rollout.
TASKS = 500

#: How long each takes: less than a pod has to drain.
SECONDS = {"work": 0.2, "visit": 5.0}


@contextmanager
def flowing(shop: Shop, numbers: Iterator[int]) -> Iterator[None]:
    """Send tasks all the while, fewer than the pods can run."""
    ended = threading.Event()

    def feed() -> None:
        while not ended.wait(0.25):
            for task, seconds in SECONDS.items():
                number = next(numbers)
                shop.send(task, range(number, number + 1), seconds)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_tasks_run_once_through_three_rollouts(shop: Shop) -> None:
    """
    3,000 tasks and more; when `rollout status` ends, only new pods are there, and each of them
    takes tasks.
    """
    shop.release()
    numbers = itertools.count()
    for release in images.RELEASES[1:]:
        for task, seconds in SECONDS.items():
            for number in itertools.islice(numbers, TASKS):
                shop.send(task, range(number, number + 1), seconds)
        with flowing(shop, numbers):
            shop.describe(descriptions.shop(shop.name, release))
            shop.apply()

            shop.rolled_out()

            new = names(pod for pod in shop.workers() if image(pod) == release and is_ready(pod))
            assert 4 == len(new), shop.kubectl.shown()
            shop.wait(lambda new=new: new <= shop.runs.hosts(), "each new pod to take a task")  # type: ignore[misc]

    sent = next(numbers)
    shop.have_ended(sent)

    assert sent > 3000
    assert dict.fromkeys(range(sent), 1) == shop.runs.began()
    assert dict.fromkeys(range(sent), 1) == shop.runs.ended()
    shop.wait(shop.is_empty, "every message to be acknowledged")
