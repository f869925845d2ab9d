"""KEDA scales the prefork worker by what waits and runs."""

import pytest

from tests.kubernetes.lab.pods import is_ready, names
from tests.kubernetes.lab.room import Room
from tests.kubernetes.lab.shop import Shop

#: From none to four pods of two tasks each; a short window, else each test takes minutes.
SCALED = "min = 0\nmax = 4\nscale_in_seconds = 20"


@pytest.fixture
def scaled(shop: Shop, scaler_room: Room) -> Shop:
    """Return the shop without a prefork pod, its metrics found by KEDA."""
    shop.release(prefork=SCALED, gevent="replicas = 0", drain=90)
    (metrics,) = [pod for pod in shop.pods("metrics") if is_ready(pod)]
    # Nothing here resolves the names of services.
    with scaler_room.hosts.open("a") as file:
        file.write(f"{metrics['status']['podIP']} shop-metrics.{shop.name}.svc\n")
    shop.wait(lambda: not shop.pods("prefork"), "KEDA to find nothing to do")
    return shop


def replicas(shop: Shop) -> int:
    """Return how many pods the prefork worker should have."""
    return int(shop.kubectl.json("get", "deployment", "shop-prefork")["spec"]["replicas"])


def test_pods_come_with_the_tasks_and_go_after_them(scaled: Shop) -> None:
    """
    From none to four and back, with 300 tasks of half a second: each runs once.
    """
    scaled.send("work", range(300), 0.5)

    scaled.wait(lambda: replicas(scaled) == 4, "four pods")
    scaled.have_ended(300)
    scaled.wait(lambda: not scaled.pods("prefork"), "every pod to go")

    assert dict.fromkeys(range(300), 1) == scaled.runs.began()
    assert dict.fromkeys(range(300), 1) == scaled.runs.ended()


def test_no_task_is_interrupted_by_fewer_pods(scaled: Shop) -> None:
    """
    Tasks longer than all windows, within the grace: busy pods are chosen to go, and drain.
    """
    short, long = range(4), range(4, 8)
    # One of each a pod: when the short ones have ended, half of the pods would do.
    for pair in zip(short, long, strict=True):
        for number, seconds in zip(pair, (10.0, 80.0), strict=True):
            scaled.send("work", range(number, number + 1), seconds)
    scaled.wait(lambda: len(scaled.runs.began()) == 8, "every task to begin")

    scaled.wait(lambda: replicas(scaled) < 4, "KEDA to take a pod away")
    began_after = len(scaled.runs.ended())
    scaled.have_ended(8)
    scaled.wait(lambda: not scaled.pods("prefork"), "every pod to go")

    assert began_after < 8
    assert dict.fromkeys(range(8), 1) == scaled.runs.began()
    assert dict.fromkeys(range(8), 1) == scaled.runs.ended()


def test_without_metrics_the_pods_stay(scaled: Shop) -> None:
    """
    KEDA's fallback keeps what runs, though nothing tells it that there is work.
    """
    scaled.send("work", range(400), 1.0)
    scaled.wait(lambda: len(names(filter(is_ready, scaled.pods("prefork")))) >= 2, "pods")

    scaled.kubectl("scale", "deployment/shop-metrics", "--replicas=0")
    scaled.wait(lambda: _falls_back(scaled), "KEDA to fall back")
    before = replicas(scaled)
    scaled.have_ended(400)

    assert before >= 2
    assert replicas(scaled) >= before
    assert dict.fromkeys(range(400), 1) == scaled.runs.began()


def _falls_back(shop: Shop) -> bool:
    status = shop.kubectl.json("get", "scaledobject", "shop-prefork")["status"]
    return any(
        each["type"] == "Fallback" and each["status"] == "True" for each in status["conditions"]
    )
