"""What cannot work together is an error with its cure, before anything is applied."""

from pathlib import Path

import pytest

from task_server.config.loader import load
from task_server.errors import ConfigError
from tests.unit.manifests.cases import IMAGE, config_of, problems_of

OWN = f"[kubernetes]\n{IMAGE}\n"

#: A configuration, the setting that is named, and words of what is said.
WRONG = {
    "no image": ("[kubernetes]\n", "kubernetes.image", "name the image of the project"),
    "memory": (
        OWN + '[workers.one]\nconcurrency = 8\n[workers.one.kubernetes]\nmemory = "512MiB"\n',
        "workers.one.kubernetes.memory",
        "512Mi is below the 992Mi that it needs (8 children of 96Mi each, with 64Mi of /tmp)",
    ),
    "children": (
        OWN + '[workers.one]\nconcurrency = 2\nmax_memory_per_child = "1GiB"\n'
        '[workers.one.kubernetes]\nmemory = "2GiB"\n',
        "workers.one.kubernetes.memory",
        "lower concurrency",
    ),
    "memory limit": (
        OWN + '[workers.gevent]\nmemory_limit = "2GiB"\n[workers.gevent.kubernetes]\n'
        'memory = "1GiB"\n',
        "workers.gevent.kubernetes.memory",
        "raise it",
    ),
    "processors": (
        OWN + "[workers.one]\nconcurrency = 4\n[workers.one.kubernetes]\ncpu_limit = 1\ncpu = 2\n",
        "workers.one.kubernetes.cpu_limit",
        "1 is below cpu (2)",
    ),
    "spot": (
        OWN + "[workers.one]\ndrain_seconds = 600\n[workers.one.kubernetes]\nspot = true\n",
        "workers.one.drain_seconds",
        "set drain_seconds to 105 at most",
    ),
    "spot, whatever the drain": (
        OWN + "spot_notice_seconds = 5\n[workers.one.kubernetes]\nspot = true\n",
        "workers.one.drain_seconds",
        "no worker stops within that",
    ),
    "postgres": (
        OWN + "postgres_connections = 100\n[workers.one]\nconcurrency = 8\n"
        "[workers.one.kubernetes]\nmax = 20\n",
        "kubernetes.postgres_connections",
        "all pods open up to 210 in a rollout, one 200 of them, and there are 100",
    ),
    "redis": (
        OWN + "redis_connections = 100\n[workers.gevent.kubernetes]\nreplicas = 10\n",
        "kubernetes.redis_connections",
        "and there are 100",
    ),
    "both": (
        OWN + "[workers.one.kubernetes]\nreplicas = 2\nmax = 3\n",
        "workers.one.kubernetes.replicas",
        "contradicts max (3)",
    ),
    "min alone": (
        OWN + "[workers.one.kubernetes]\nmin = 2\n",
        "workers.one.kubernetes.min",
        "has no max",
    ),
    "min above max": (
        OWN + "[workers.one.kubernetes]\nmin = 4\nmax = 3\n",
        "workers.one.kubernetes.min",
        "4 is above max (3)",
    ),
    "nobody scales": (
        OWN + 'autoscaler = "none"\n[workers.one.kubernetes]\nmax = 3\n',
        "workers.one.kubernetes.max",
        "nothing scales the worker",
    ),
    "hpa to none": (
        OWN + 'autoscaler = "hpa"\n[workers.one.kubernetes]\nmin = 0\nmax = 3\n',
        "workers.one.kubernetes.min",
        "no pod uses processor time",
    ),
    "keda without metrics": (
        OWN + "services = []\n[workers.one.kubernetes]\nmax = 3\n",
        "kubernetes.services",
        "by which KEDA scales one",
    ),
    "flower open": (
        OWN + 'services = ["flower"]\n',
        "kubernetes.secrets",
        "flower.basic_auth is not among them",
    ),
    "port": (
        OWN + "[metrics]\nport = 0\n",
        "metrics.port",
        "no Service finds",
    ),
    "secret in the file": (
        'broker_url = "redis://u:pw@host/0"\n' + OWN,
        "kubernetes.secrets",
        "broker_url stands in task-server.toml",
    ),
    "no secret": (
        OWN + 'secrets = { brokerurl = "a/b" }\n',
        "kubernetes.secrets",
        "'brokerurl' is no secret of ours; did you mean broker_url?",
    ),
    "variable twice": (
        OWN + 'env = { TASK_SERVER_BROKER_URL_FILE = "x" }\nsecrets = { broker_url = "a/b" }\n',
        "kubernetes.env",
        "is given by kubernetes.secrets",
    ),
    "image of nobody": (
        OWN + 'images = { flour = "registry/flower:1" }\n',
        "kubernetes.images",
        "'flour' is no worker, pool or service; did you mean flower?",
    ),
    "a folder twice": (
        OWN + 'code_claim = "a"\nmedia_claim = "b"\nmedia_path = "/opt/celery/"\n',
        "kubernetes.media_path",
        "/opt/celery is that of code_path",
    ),
    "the Job's name": (
        OWN + "[workers.migrations]\nconcurrency = 1\n",
        "workers.migrations",
        "is the name of the Job of migrations",
    ),
    "long prefix": (
        OWN + f'name = "{"x" * 39}"\n[workers.one]\nconcurrency = 1\n',
        "kubernetes.name",
        "longer than 46 characters",
    ),
    "long name": (
        OWN + f"[workers.{'x' * 40}]\n",
        f"workers.{'x' * 40}",
        "longer than 46 characters",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_sum_that_does_not_come_out_is_named_with_its_cure(case: str, tmp_path: Path) -> None:
    """
    One line, that of the setting that the operator changes.
    """
    text, setting, words = WRONG[case]

    (found,) = problems_of(config_of(tmp_path, text))

    assert found.startswith(f"{setting}: ")
    assert words in found
    assert "pw" not in found


def test_a_secret_is_found_in_a_file_of_any_name(tmp_path: Path) -> None:
    """
    Who names the file by --config may call it as they like.
    """
    path = tmp_path / "production.conf"
    path.write_text('broker_url = "redis://u:pw@host/0"\n' + OWN)

    (found,) = problems_of(load(path, {}))

    assert found.startswith("kubernetes.secrets: broker_url stands in production.conf")


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """
    So that one run of the command shows all there is to do.
    """
    config = config_of(
        tmp_path,
        "[kubernetes]\nservices = ['flower']\n[workers.one.kubernetes]\nmax = 2\nreplicas = 1\n",
    )

    assert [
        "kubernetes.image",
        "kubernetes.secrets",
        "kubernetes.services",
        "workers.one.kubernetes.replicas",
    ] == [found.partition(":")[0] for found in problems_of(config)]


#: A setting of one of the two tables, and words of what is said.
REFUSED = {
    'image = "parish"': "has no tag that stays",
    'image = "parish:latest"': "has no tag that stays",
    'image = "parish:1 "\nimage_pull = 1': "kubernetes.image_pull: is not a setting",
    'image = "Parish:1"': "names no image",
    'namespace = "Church"': "is no name here",
    'command = ["/bin/sh", "-c", "task-server"]': "is a shell",
    "command = []": "is not a list of arguments",
    'services = ["worker"]': "'worker' is none of flower, beat, metrics",
    'secrets = { broker_url = "redis" }': "write NAME/KEY",
    "secrets = { broker_url = 1 }": "is not text",
    'secrets = "redis"': "is not a table of secrets",
    'env = { "A-B" = "c" }': "is not the name of a variable",
    'media_path = "sata"': "is no path in a container",
    'env_secrets = ["a_b"]': "is no object's name",
    'autoscaler = "vpa"': "use 'keda' or 'hpa' or 'none'",
}
REFUSED_OF_PODS = {
    "replica = 1": "did you mean replicas?",
    "replicas = -1": "is not in the range",
    'cpu = "1 core"': "is no number of processors",
    "cpu = 0": "0.01 at least",
    "cpu = nan": "0.01 at least",
    "memory = 1": "are too few",
    'tolerations = ["a=b:Never"]': "is none of NoSchedule",
    'node_selector = { "a b" = "c" }': "is not the key of a label",
}


@pytest.mark.parametrize(
    ("line", "words", "table"),
    [
        *((line, words, "kubernetes") for line, words in REFUSED.items()),
        *((line, words, "workers.one.kubernetes") for line, words in REFUSED_OF_PODS.items()),
    ],
)
def test_a_value_that_no_cluster_takes_is_refused(
    line: str, words: str, table: str, tmp_path: Path
) -> None:
    """
    By every command, as with any other setting.
    """
    path = tmp_path / "task-server.toml"
    path.write_text(f"[{table}]\n{line}\n")

    with pytest.raises(ConfigError) as caught:
        load(path, {})

    assert words in str(caught.value)
    assert 78 == caught.value.exit_code


def test_settings_may_be_variables(tmp_path: Path) -> None:
    """
    A pipeline has the image, and the numbers of a branch, without changing the file.
    """
    config = config_of(
        tmp_path,
        "[workers.one]\n",
        {
            "TASK_SERVER_KUBERNETES_IMAGE": "registry/parish:7",
            "TASK_SERVER_KUBERNETES_SECRETS": "broker_url=redis/url",
            "TASK_SERVER_KUBERNETES_SERVICES": "",
            "TASK_SERVER_WORKERS_ONE_KUBERNETES_REPLICAS": "0",
            "TASK_SERVER_WORKERS_ONE_KUBERNETES_CPU": "250m",
            "TASK_SERVER_WORKERS_ONE_KUBERNETES_NODE_SELECTOR": "pool=celery,disk=ssd",
        },
    )

    assert "registry/parish:7" == config.kubernetes.image
    assert (("broker_url", "redis/url"),) == config.kubernetes.secrets
    assert () == config.kubernetes.services
    assert (0, 0.25) == (config.pods["one"].replicas, config.pods["one"].cpu)
    assert (("disk", "ssd"), ("pool", "celery")) == config.pods["one"].node_selector
