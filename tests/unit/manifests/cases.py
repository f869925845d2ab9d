"""Objects of a configuration that is written as its operator writes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from task_server.config.loader import load
from task_server.config.model import Config
from task_server.manifests.alerts import alerts
from task_server.manifests.names import Object
from task_server.manifests.objects import objects
from task_server.manifests.plan import plan
from task_server.manifests.sums import problems

IMAGE = 'image = "registry/parish:1"'

#: Everything that has a setting, of a project that is not ours.
FULL = """
app = "parish"
broker_url = "redis://localhost/3"

[flower]
url_prefix = "flower"

[kubernetes]
namespace = "church"
name = "parish"
image = "registry.example:5000/parish:1f2e"
images = { gevent = "registry.example:5000/parish-io:1f2e" }
pull_secrets = ["registry"]
command = ["/usr/bin/catatonit", "--", "/opt/task-server/bin/task-server"]
services = ["metrics", "beat", "flower"]
secrets = { broker_url = "redis/url", flower.basic_auth = "flower/user" }
secret_files = ["parish-private"]
env = { DJANGO_SETTINGS_MODULE = "parish.settings", YEAR = "1e3" }
env_config_maps = ["parish"]
env_secrets = ["parish-database"]
code_claim = "code"
media_claim = "media"
pod_monitor = true
prometheus_rule = true
network_policy = true
postgres_connections = 500
redis_connections = 5000

[workers.bulk_2]
queues = ["batch1", "batch2"]
drain_seconds = 100

[workers.bulk_2.kubernetes]
min = 0
max = 8
cpu = 2
memory = "2GiB"
node_selector = { "node.kubernetes.io/pool" = "celery" }
tolerations = ["dedicated=celery:NoSchedule", "spot"]
spot = true
do_not_disrupt = true
wait_target = 60

[workers.gevent]
concurrency = 100

[workers.gevent.kubernetes]
replicas = 3
"""


def config_of(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration that *text* and *environ* make."""
    path = tmp_path / "task-server.toml"
    path.write_text(text)
    return load(path, environ or {})


def objects_of(config: Config) -> dict[tuple[str, str], Object]:
    """Return the objects of *config*, by kind and name."""
    written = objects(plan(config), alerts())
    found = {(one["kind"], one["metadata"]["name"]): one for one in written}
    assert len(written) == len(found)
    return found


def pods_of(found: Mapping[tuple[str, str], Object]) -> dict[str, Any]:
    """Return the specs of all pods, by the names of what makes them."""
    return {
        name: one["spec"]["template"]["spec"]
        for (kind, name), one in found.items()
        if kind in ("Deployment", "Job")
    }


def problems_of(config: Config) -> list[str]:
    """Return what is wrong with the deployment of *config*, a line each."""
    return [str(problem) for problem in problems(plan(config))]
