"""A release that cannot start leaves the old pods at work, and says why."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.kubernetes.lab import descriptions, images
from tests.kubernetes.lab.pods import is_ready, names
from tests.kubernetes.lab.shop import Shop, variables


@dataclass(frozen=True)
class Fault:
    """How a release is broken, and words of what `kubectl describe` then says of its pods."""

    name: str
    deploy: Callable[[Shop], None]
    words: tuple[str, ...]


def _unknown_app(shop: Shop) -> None:
    text = descriptions.shop(shop.name, images.RELEASES[1])
    shop.describe(text.replace('app = "shop"', 'app = "nowhere"'))
    shop.apply()


def _missing_secret(shop: Shop) -> None:
    text = descriptions.shop(shop.name, images.RELEASES[1])
    shop.describe(text.replace('["shop-database"]', '["shop-database", "not-there"]'))
    shop.apply()


def _refused_password(shop: Shop) -> None:
    values = variables(shop.cluster.database, shop.runs.name)
    shop.secret("shop-database", **{**values, "SHOP_DATABASE_PASSWORD": "changed"})
    shop.describe(descriptions.shop(shop.name, images.RELEASES[1]))
    shop.apply()


def _missing_migration(shop: Shop) -> None:
    """Change the image alone, as `kubectl set image` does: no Job applies the migrations."""
    for deployment in shop.deployments():
        if not deployment.endswith("metrics"):
            shop.kubectl("set", "image", f"deployment/{deployment}", f"*={images.MIGRATED}")


FAULTS = (
    Fault("unknown app", _unknown_app, ("nowhere",)),
    Fault("missing secret", _missing_secret, ('secret "not-there" not found',)),
    Fault("refused password", _refused_password, ("refuses the user or the password",)),
    Fault("missing migration", _missing_migration, ("0002_run_note",)),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_old_pods_stay_at_work(fault: Fault, shop: Shop) -> None:
    """
    The rollout does not end, `kubectl describe` has the reason, and tasks go on.
    """
    shop.release()
    old = names(shop.workers())

    fault.deploy(shop)

    def said() -> bool:
        text = "".join(
            shop.kubectl("describe", "pod", name) for name in names(shop.workers()) - old
        )
        return all(word in text for word in fault.words)

    shop.wait(said, f"`kubectl describe` to say {fault.words}")
    status = [
        shop.kubectl.run("rollout", "status", f"deployment/{name}", "--timeout=1s").returncode
        for name in shop.deployments()
        if not name.endswith("metrics")
    ]
    assert all(status)
    assert old <= names(pod for pod in shop.workers() if is_ready(pod))
    shop.send("work", range(10))
    shop.send("visit", range(10, 20))
    shop.have_ended(20)
    assert dict.fromkeys(range(20), 1) == shop.runs.began()
    assert shop.runs.hosts() <= old
