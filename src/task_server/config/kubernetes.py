"""The tables for Kubernetes: of all that `manifests` writes, and of the pods of one worker."""

from dataclasses import dataclass
from typing import Literal, get_args

from task_server.config import cluster_values, values
from task_server.config.services import SERVICES
from task_server.config.setting import setting

Autoscaler = Literal["keda", "hpa", "none"]
PullPolicy = Literal["IfNotPresent", "Always", "Never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesConfig:
    """
    What `task-server manifests kubernetes` writes; no process reads it.

    Sizes are bytes, times are seconds.
    """

    namespace: str = setting(
        "Namespace of all objects; it is not created.", cluster_values.label, "task-server"
    )
    name: str = setting(
        "What the names of all objects begin with; two deployments in a namespace need two.",
        cluster_values.label,
        "task-server",
    )
    image: str | None = setting(
        "Image with the project's packages and task-server, with a tag that stays: "
        "registry/name:tag. It must be set.",
        cluster_values.image,
        None,
    )
    images: tuple[tuple[str, str], ...] = setting(
        "Other images, by the name of a worker, a pool or a service: "
        '`{ flower = "registry/flower:tag" }`.',
        cluster_values.pairs(str, cluster_values.image, "a table of images, NAME = 'IMAGE'"),
        (),
    )
    pull_policy: PullPolicy = setting(
        "When nodes pull an image.", values.choice(*get_args(PullPolicy)), "IfNotPresent"
    )
    pull_secrets: tuple[str, ...] = setting(
        "Secrets with which images are pulled.", cluster_values.object_names, ()
    )
    command: tuple[str, ...] = setting(
        "What starts task-server in the image; what is before `--` is an init for what tasks "
        "leave behind, such as `/usr/bin/catatonit -- task-server`.",
        cluster_values.program,
        ("task-server",),
    )
    services: tuple[str, ...] = setting(
        "What runs beside the workers: of beat, flower and metrics.",
        cluster_values.some_of(*(name for name, one in SERVICES.items() if not one.per_worker)),
        ("metrics",),
    )
    secrets: tuple[tuple[str, str], ...] = setting(
        "Our settings that are secret, each a key of a Secret, read from a file: "
        '`{ broker_url = "redis/url" }`.',
        cluster_values.pairs(
            str, cluster_values.secret_key, "a table of secrets, SETTING = 'NAME/KEY'"
        ),
        (),
    )
    secret_files: tuple[str, ...] = setting(
        "The project's own Secrets that are files, below /run/secrets/NAME.",
        cluster_values.object_names,
        (),
    )
    env: tuple[tuple[str, str], ...] = setting(
        "Variables of every container, none of them secret.",
        cluster_values.pairs(
            cluster_values.variable_name,
            cluster_values.printable,
            "a table of variables, NAME = 'VALUE'",
        ),
        (),
    )
    env_config_maps: tuple[str, ...] = setting(
        "The project's own ConfigMaps whose keys become variables.", cluster_values.object_names, ()
    )
    env_secrets: tuple[str, ...] = setting(
        "The project's own Secrets whose keys become variables.", cluster_values.object_names, ()
    )
    code_claim: str | None = setting(
        "PersistentVolumeClaim with the project's code, where the image has none.",
        cluster_values.object_name,
        None,
    )
    code_path: str = setting(
        "Where the code is mounted, read-only.", cluster_values.folder, "/opt/celery"
    )
    media_claim: str | None = setting(
        "PersistentVolumeClaim with the project's media files, which all pods share.",
        cluster_values.object_name,
        None,
    )
    media_path: str = setting(
        "Where the media files are mounted (DJANGO_MEDIA_ROOT).", cluster_values.folder, "/sata"
    )
    tmp: int = setting("Size of /tmp, which is memory of the pod.", values.size(2**20), 64 * 2**20)
    migrations: bool = setting(
        "A Job applies the project's migrations, and new pods wait for it.", values.boolean, True
    )
    autoscaler: Autoscaler = setting(
        "What scales workers with a `max`: keda, by what waits and runs; hpa, by processor time.",
        values.choice(*get_args(Autoscaler)),
        "keda",
    )
    pod_monitor: bool = setting("A PodMonitor, for the Prometheus operator.", values.boolean, False)
    prometheus_rule: bool = setting(
        "A PrometheusRule with our alerts, for the Prometheus operator.", values.boolean, False
    )
    network_policy: bool = setting(
        "NetworkPolicies: nothing reaches a worker, anybody the metrics.", values.boolean, False
    )
    spot_notice_seconds: float = setting(
        "Seconds from a spot node's notice to its end: 120 on AWS, 30 elsewhere.",
        values.seconds(1, values.DAY),
        120.0,
    )
    postgres_connections: int = setting(
        "Connections that PostgreSQL, or a pooler before it, has for all pods; 0: not compared.",
        values.integer(0),
        0,
    )
    redis_connections: int = setting(
        "Connections that Redis has for all pods; 0: not compared.", values.integer(0), 0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsConfig:
    """The pods of one worker, the table [workers.NAME.kubernetes]; no process reads it."""

    replicas: int | None = setting(
        "Pods, if nothing scales them; unset, 1, or what lies between `min` and `max`.",
        values.integer(0, 5000),
        None,
    )
    min: int | None = setting("Fewest pods; 0 needs KEDA. Unset, 1.", values.integer(0, 5000), None)
    max: int | None = setting(
        "Most pods; with it the worker is scaled.", values.integer(1, 5000), None
    )
    cpu: float | None = setting(
        "Processors that a pod asks for; unset, as many as it runs tasks under prefork, else 1.",
        cluster_values.processors,
        None,
    )
    cpu_limit: float | None = setting(
        "Processors that a pod may use; unset, none, or `cpu` where the concurrency follows it.",
        cluster_values.processors,
        None,
    )
    memory: int | None = setting(
        "Memory of a pod, with its /tmp; unset, what its concurrency needs, 1 GiB at least.",
        values.size(64 * 2**20),
        None,
    )
    node_selector: tuple[tuple[str, str], ...] = setting(
        'Labels that its nodes have: `{ pool = "celery" }`.',
        cluster_values.pairs(
            cluster_values.label_key, cluster_values.label_value, "a table of labels, KEY = 'VALUE'"
        ),
        (),
    )
    tolerations: tuple[str, ...] = setting(
        "Taints of nodes that it may run on, as `kubectl taint` writes them: KEY=VALUE:EFFECT.",
        cluster_values.tolerations,
        (),
    )
    spot: bool = setting(
        "Its nodes may be taken away: it must drain within `kubernetes.spot_notice_seconds`.",
        values.boolean,
        False,
    )
    do_not_disrupt: bool = setting(
        "Karpenter and the cluster autoscaler leave its nodes alone, for tasks that take long.",
        values.boolean,
        False,
    )
    wait_target: float = setting(
        "One pod for each so many seconds that the oldest message has waited, if that is more "
        "(KEDA); 0: the age does not count.",
        values.zero_or_seconds(1, 7 * values.DAY),
        0.0,
    )
    scale_in_seconds: float = setting(
        "How long there was too little to do before pods are removed.",
        values.seconds(0, 3600),
        300.0,
    )
