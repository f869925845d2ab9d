"""task-server.toml of the two projects that the cluster runs."""

#: Its workers have queues of their own; everything optional is there.
SHOP = """
app = "shop"
# The image names a folder for docket's files; the shop writes none.
media = "read-only"

[kubernetes]
namespace = "{namespace}"
name = "shop"
image = "{image}"
pull_policy = "Never"
command = ["/usr/bin/catatonit", "--", "task-server"]
services = ["metrics"]
network_policy = true
secrets = {{ broker_url = "broker/url" }}
env_secrets = ["shop-database"]

[workers.prefork]
concurrency = 2
drain_seconds = {drain}

[workers.prefork.kubernetes]
{prefork}
cpu = 0.1
memory = "512M"

[workers.gevent]
concurrency = 50

[workers.gevent.kubernetes]
{gevent}
cpu = 0.1
memory = "512M"
"""

DOCKET = """
app = "docket"

[kubernetes]
namespace = "{namespace}"
name = "docket"
image = "{image}"
pull_policy = "Never"
command = ["/usr/bin/catatonit", "--", "task-server"]
services = ["metrics", "flower", "beat"]
secrets = {{ broker_url = "broker/url", "flower.basic_auth" = "flower/basic_auth" }}
env_secrets = ["docket"]
media_claim = "media"

[workers.prefork]
concurrency = 2

[workers.prefork.kubernetes]
cpu = 0.1

[workers.gevent]
concurrency = 50

[workers.gevent.kubernetes]
cpu = 0.1
"""


def shop(
    namespace: str,
    image: str,
    prefork: str = "replicas = 2",
    gevent: str = "replicas = 2",
    drain: int = 30,
) -> str:
    """Return the shop's; *prefork* and *gevent* are lines of their pods' tables."""
    return SHOP.format(
        namespace=namespace, image=image, prefork=prefork, gevent=gevent, drain=drain
    )


def docket(namespace: str, image: str) -> str:
    """Return docket's."""
    return DOCKET.format(namespace=namespace, image=image)
