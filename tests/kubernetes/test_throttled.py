"""Probes of a pod that hardly gets a processor."""

from tests.kubernetes.lab.pods import restarts
from tests.kubernetes.lab.shop import Shop

#: More than must fail for a restart.
LOOKS = 6


def test_a_busy_pod_with_a_tenth_of_a_core_is_not_restarted(shop: Shop) -> None:
    """
    All its processes compute; liveness and readiness still find it well.
    """
    shop.release(prefork="replicas = 1\ncpu_limit = 0.1", gevent="replicas = 0")
    shop.send("compute", range(200), 10_000_000)

    shop.wait(
        lambda: [count for count in shop.looks("Liveness").values() if count >= LOOKS],
        "liveness probes",
    )

    (pod,) = shop.pods("prefork")
    assert 0 == restarts(pod)
    assert shop.runs.began()
    assert not shop.is_empty()
