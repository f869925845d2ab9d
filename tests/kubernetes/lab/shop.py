"""The shop in the cluster: its namespace, its servers, and what its tasks have done."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from tests.kubernetes.lab import descriptions, images, pods, servers
from tests.kubernetes.lab.cluster import Cluster
from tests.kubernetes.lab.control import GATEWAY
from tests.kubernetes.lab.pods import Pod
from tests.kubernetes.lab.project import Project
from tests.support.redis import Redis

#: Of a metric.
_LABEL = re.compile(r'(\w+)="([^"]*)"')

#: Seconds that a pod has to be gone or to be there on a machine that is busy.
PATIENCE = 600.0

#: The queue of each task.
QUEUES = {
    "work": "celery",
    "compute": "celery",
    "swell": "celery",
    "fill": "celery",
    "visit": "io_bound",
}


@dataclass(frozen=True)
class Shop(Project):
    """A project whose broker and database are of one test."""

    cluster: Cluster
    broker: Redis
    celery: Celery
    runs: servers.Runs

    def release(self, image: str = images.RELEASES[0], **settings: Any) -> None:
        """Describe, apply, and wait until everything is ready."""
        self.describe(descriptions.shop(self.name, image, **settings))
        self.apply()
        self.rolled_out()

    def workers(self) -> list[Pod]:
        """Return the pods of both workers, old and new."""
        return [*self.pods("prefork"), *self.pods("gevent")]

    def send(self, task: str, numbers: range, *arguments: object) -> None:
        """Send the task once for each number."""
        for number in numbers:
            self.celery.send_task(f"shop.tasks.{task}", (number, *arguments), queue=QUEUES[task])

    def looks(self, probe: str) -> dict[str, int]:
        """Return how often the kubelets have looked at each worker's pod by the *probe*."""
        found: dict[str, int] = {}
        mine = pods.names(self.workers())
        for node in self.cluster.nodes:
            text = self.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics/probes")
            for line in text.splitlines():
                labels = dict(_LABEL.findall(line))
                if not line.startswith("prober_probe_total{") or labels["probe_type"] != probe:
                    continue
                if labels["pod"] in mine and labels["namespace"] == self.name:
                    count = int(float(line.rpartition(" ")[2]))
                    found[labels["pod"]] = found.get(labels["pod"], 0) + count
        return found

    def have_ended(self, count: int) -> None:
        """Wait until so many different tasks have ended."""
        self.wait(lambda: len(self.runs.ended()) >= count, f"{count} tasks to end")

    def wait(self, fact: Callable[[], Any], what: str) -> Any:
        """Wait until *fact* holds; else show the namespace and what waits."""
        try:
            return self.kubectl.wait(fact, what, PATIENCE)
        except AssertionError as error:
            ended, waiting = len(self.runs.ended()), self.broker.waiting()
            raise AssertionError(f"{error}\n{ended} ended, {waiting} wait or run") from None

    def is_empty(self) -> bool:
        """Whether no message waits or runs."""
        return self.broker.is_empty()


@contextmanager
def opened(cluster: Cluster, name: str, folder: Path) -> Iterator[Shop]:
    """Have the shop in the new namespace *name*; its pods end with the context."""
    database = f"{name.replace('-', '_')}"
    cluster.database.create(database, "shop")
    with (
        servers.redis(folder / "redis") as broker,
        cluster.namespace(name) as kubectl,
        Celery(broker=broker.url, set_as_current=False) as celery,
    ):
        shop = Shop(
            *(name, folder / "shop", kubectl, cluster, broker, celery),
            servers.Runs(cluster.database, database),
        )
        shop.secret("broker", url=f"redis://{GATEWAY}:{broker.port}/0")
        shop.secret("shop-database", **variables(cluster.database, database))
        yield shop


def variables(database: servers.Database, name: str) -> dict[str, str]:
    """Return how the shop finds its database."""
    return {
        "SHOP_DATABASE_HOST": GATEWAY,
        "SHOP_DATABASE_PORT": str(database.port),
        "SHOP_DATABASE_NAME": name,
        "SHOP_DATABASE_PASSWORD": "shop",
    }
