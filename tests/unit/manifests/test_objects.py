"""What each object says, of a project that uses everything."""

import json
from pathlib import Path
from typing import Any

import pytest

from task_server.config.model import STOP_MARGIN_SECONDS
from task_server.launch.services.beat import STOP_SECONDS
from tests.unit.manifests.cases import FULL, IMAGE, config_of, objects_of, pods_of, problems_of


@pytest.fixture
def full(tmp_path: Path) -> dict[tuple[str, str], Any]:
    config = config_of(tmp_path, FULL)
    assert [] == problems_of(config)
    return objects_of(config)


def worker(found: dict[tuple[str, str], Any], name: str = "parish-bulk-2") -> Any:
    return found["Deployment", name]["spec"]


def test_there_is_one_deployment_for_each_worker_and_service(
    full: dict[tuple[str, str], Any],
) -> None:
    """
    Those of the configuration, with what belongs to each; no built-in worker that nobody named.
    """
    names = {
        kind: {name for one, name in full if one == kind}
        for kind in {kind for kind, _ in full} - {"ConfigMap", "Job"}
    }
    deployments = {f"parish-{name}" for name in ("bulk-2", "gevent", "metrics", "beat", "flower")}

    assert {
        "ServiceAccount": {"parish"},
        "Deployment": deployments,
        "PodDisruptionBudget": deployments,
        "ScaledObject": {"parish-bulk-2"},
        "Service": {"parish-metrics", "parish-flower"},
        "PodMonitor": {"parish-metrics"},
        "PrometheusRule": {"parish"},
        "NetworkPolicy": {"parish", "parish-metrics", "parish-flower"},
    } == names
    assert {"church"} == {one["metadata"]["namespace"] for one in full.values()}


def test_every_pod_is_what_a_restricted_namespace_takes(full: dict[tuple[str, str], Any]) -> None:
    """
    Each container, those that wait among them: user 33, nothing to write but /tmp, no capability.
    """
    pods = pods_of(full)
    assert 6 == len(pods)
    for pod in pods.values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert "parish" == pod["serviceAccountName"]
        asked = pod["securityContext"]
        assert (33, 33, 33, True) == (
            *(asked["runAsUser"], asked["runAsGroup"], asked["fsGroup"]),
            asked["runAsNonRoot"],
        )
        assert {"type": "RuntimeDefault"} == asked["seccompProfile"]
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True
            assert own["allowPrivilegeEscalation"] is False
            assert {"drop": ["ALL"]} == own["capabilities"]
            assert "FallbackToLogsOnError" == container["terminationMessagePolicy"]
            assert "lifecycle" not in container
            writable = [one for one in container["volumeMounts"] if not one.get("readOnly")]
            assert {"tmp", "media"} >= {one["name"] for one in writable}
            kept = container["resources"]
            assert kept["requests"]["memory"] == kept["limits"]["memory"]
        (tmp,) = (one for one in pod["volumes"] if one["name"] == "tmp")
        assert {"medium": "Memory", "sizeLimit": "64Mi"} == tmp["emptyDir"]


def test_no_shell_and_no_entry_point_of_an_image_is_between(
    full: dict[tuple[str, str], Any],
) -> None:
    """
    The image's own entry point is not run; the probes leave out the init that the worker has.
    """
    (container,) = worker(full)["template"]["spec"]["containers"]

    assert [
        *("/usr/bin/catatonit", "--", "/opt/task-server/bin/task-server"),
        *("worker", "bulk_2"),
    ] == [*container["command"], *container["args"]]
    assert [
        ["/opt/task-server/bin/task-server", "health", "bulk_2", *rest]
        for rest in ([], [], ["--ready"])
    ] == [
        container[probe]["exec"]["command"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    ]


def test_a_pod_has_as_long_to_stop_as_its_worker_takes(full: dict[tuple[str, str], Any]) -> None:
    """
    Drain and margin; of a service what its own stop takes, and a margin as well.
    """
    pods = pods_of(full)

    assert 100 + STOP_MARGIN_SECONDS == pods["parish-bulk-2"]["terminationGracePeriodSeconds"]
    assert 30 + STOP_MARGIN_SECONDS == pods["parish-gevent"]["terminationGracePeriodSeconds"]
    assert pods["parish-beat"]["terminationGracePeriodSeconds"] > STOP_SECONDS


def test_a_rollout_takes_no_worker_away_before_a_new_one_is_ready(
    full: dict[tuple[str, str], Any],
) -> None:
    """
    And a drained node takes one at a time.
    """
    deployments = [one["spec"] for (kind, _), one in full.items() if kind == "Deployment"]
    budgets = [one["spec"] for (kind, _), one in full.items() if kind == "PodDisruptionBudget"]

    assert len(deployments) == len(budgets)
    for spec in deployments:
        assert {"maxUnavailable": 0, "maxSurge": "25%"} == spec["strategy"]["rollingUpdate"]
    assert {(1, "AlwaysAllow")} == {
        (one["maxUnavailable"], one["unhealthyPodEvictionPolicy"]) for one in budgets
    }


def test_an_autoscaler_says_how_many_pods_there_are(full: dict[tuple[str, str], Any]) -> None:
    """
    The manifest then does not, or each `apply` would set them back.
    """
    assert "replicas" not in worker(full)
    assert 3 == worker(full, "parish-gevent")["replicas"]


def test_keda_goes_by_what_waits_and_runs(full: dict[tuple[str, str], Any]) -> None:
    """
    A pod's concurrency is what one pod is for; without metrics no pod is taken away.
    """
    spec = full["ScaledObject", "parish-bulk-2"]["spec"]

    assert (0, 8) == (spec["minReplicaCount"], spec["maxReplicaCount"])
    assert "parish-bulk-2" == spec["scaleTargetRef"]["name"]
    assert [
        ("http://parish-metrics.church.svc:9808/workers/bulk_2", "load", "2"),
        ("http://parish-metrics.church.svc:9808/workers/bulk_2", "oldest_seconds", "60"),
    ] == [
        tuple(one["metadata"][name] for name in ("url", "valueLocation", "targetValue"))
        for one in spec["triggers"]
    ]
    assert {
        "failureThreshold": 3,
        "replicas": 1,
        "behavior": "currentReplicasIfHigher",
    } == spec["fallback"]
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert 300 == down["stabilizationWindowSeconds"] == spec["cooldownPeriod"]


def test_our_secrets_are_files_that_only_their_service_gets(
    full: dict[tuple[str, str], Any],
) -> None:
    """
    The file of the broker's URL is in each pod, that of Flower's password in Flower's.
    """
    pods = pods_of(full)

    def given(name: str) -> set[str]:
        (container,) = pods[name]["containers"]
        return {
            f"{one['name']}={one['value']}"
            for one in container["env"]
            if one["name"].endswith("_FILE")
        }

    broker = "TASK_SERVER_BROKER_URL_FILE=/run/task-server/broker_url"
    flower = "TASK_SERVER_FLOWER_BASIC_AUTH_FILE=/run/task-server/flower.basic_auth"
    assert {broker} == given("parish-bulk-2") == given("parish-beat")
    assert {broker, flower} == given("parish-flower")
    assert "localhost" not in json.dumps(list(full.values()))
    assert "flower.basic_auth" not in json.dumps(pods["parish-bulk-2"])


def test_what_the_project_has_becomes_variables_where_it_is_listed(
    full: dict[tuple[str, str], Any],
) -> None:
    """
    Its ConfigMaps and Secrets, variables, code and media; in the Job and what waits for it too.
    """
    for name, pod in pods_of(full).items():
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            environ = {one["name"]: one.get("value") for one in container["env"]}
            assert "parish.settings" == environ["DJANGO_SETTINGS_MODULE"]
            assert "/sata" == environ["DJANGO_MEDIA_ROOT"]
            assert "/opt/celery" == environ["PYTHONPATH"] == container["workingDir"]
            assert [
                {"configMapRef": {"name": "parish"}},
                {"secretRef": {"name": "parish-database"}},
            ] == container["envFrom"]
            mounts = {one["name"]: one for one in container["volumeMounts"]}
            assert mounts["code"]["readOnly"] is True
            assert "/run/secrets/parish-private" == mounts["files-0"]["mountPath"]
            reads = name.rpartition("-")[2] in ("metrics", "beat", "flower")
            assert reads == mounts["media"].get("readOnly", False)


def test_an_image_is_that_of_the_worker_of_its_pool_or_of_all(
    full: dict[tuple[str, str], Any],
) -> None:
    """
    What waits for the migrations runs the same: it must know those of the new version.
    """
    images = {
        name: {one["image"] for one in [*pod["containers"], *pod.get("initContainers", [])]}
        for name, pod in pods_of(full).items()
    }

    assert {"registry.example:5000/parish-io:1f2e"} == images.pop("parish-gevent")
    assert {frozenset({"registry.example:5000/parish:1f2e"})} == set(
        map(frozenset, images.values())
    )


def test_where_pods_run(full: dict[tuple[str, str], Any]) -> None:
    """
    On the nodes that are named, spread over them; their nodes are left alone if that is wanted.
    """
    template = worker(full)["template"]
    spec = template["spec"]

    assert {"node.kubernetes.io/pool": "celery"} == spec["nodeSelector"]
    assert [
        {"key": "dedicated", "operator": "Equal", "value": "celery", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists"},
    ] == spec["tolerations"]
    (spread,) = spec["topologySpreadConstraints"]
    assert "kubernetes.io/hostname" == spread["topologyKey"]
    assert template["metadata"]["labels"] == spread["labelSelector"]["matchLabels"]
    assert {"karpenter.sh/do-not-disrupt", "cluster-autoscaler.kubernetes.io/safe-to-evict"} == set(
        template["metadata"]["annotations"]
    )
    assert "annotations" not in worker(full, "parish-gevent")["template"]["metadata"]


def test_pods_of_a_new_version_wait_for_its_migrations(full: dict[tuple[str, str], Any]) -> None:
    """
    Workers and beat; a Job applies them, stays, and is another one for other pods.
    """
    ((name, job),) = [(name, one) for (kind, name), one in full.items() if kind == "Job"]
    waiting = {
        pod
        for pod, spec in pods_of(full).items()
        if any(one["args"][:2] == ["migrations", "wait"] for one in spec.get("initContainers", []))
    }

    assert {"parish-bulk-2", "parish-gevent", "parish-beat"} == waiting
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert ["manage", "migrate", "--noinput"] == container["args"]
    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert name.startswith("parish-migrations-")


def test_what_is_missing_is_said_while_the_rollout_may_still_end(
    full: dict[tuple[str, str], Any],
) -> None:
    """
    A container's last lines are shown when it ends: it waits for minutes, one at a time.
    """
    for deployment in ("parish-bulk-2", "parish-gevent", "parish-beat"):
        spec = worker(full, deployment)
        (wait,) = spec["template"]["spec"]["initContainers"]
        assert ["migrations", "wait", "--timeout=60"] == wait["args"]
        assert "FallbackToLogsOnError" == wait["terminationMessagePolicy"]
        assert spec["progressDeadlineSeconds"] >= 600


def test_another_image_is_another_job(tmp_path: Path) -> None:
    """
    The pods of a Job cannot be changed, so that its name goes with them.
    """
    names = [
        {name for kind, name in objects_of(config_of(tmp_path, text)) if kind == "Job"}
        for text in (f"[kubernetes]\n{IMAGE}", '[kubernetes]\nimage = "registry/parish:2"')
    ]

    assert 2 == len(names[0] | names[1])


def test_concurrency_follows_the_limit_of_processors(tmp_path: Path) -> None:
    """
    Where it is not set, a limit is, and the launcher reads it; where it is, no time is taken away.
    """
    config = config_of(
        tmp_path,
        f"[kubernetes]\n{IMAGE}\n[workers.prefork.kubernetes]\ncpu = 3\nmax = 5\n"
        "[workers.set]\nconcurrency = 4\n[workers.gevent]\nconcurrency = 9\n",
    )

    found = objects_of(config)

    def asked(name: str) -> Any:
        (container,) = found["Deployment", f"task-server-{name}"]["spec"]["template"]["spec"][
            "containers"
        ]
        return container["resources"]

    assert "3" == asked("prefork")["limits"]["cpu"] == asked("prefork")["requests"]["cpu"]
    assert "4" == asked("set")["requests"]["cpu"]
    assert "cpu" not in asked("set")["limits"]
    assert ("1", False) == (
        asked("gevent")["requests"]["cpu"],
        "cpu" in asked("gevent")["limits"],
    )
    (trigger,) = found["ScaledObject", "task-server-prefork"]["spec"]["triggers"]
    assert "3" == trigger["metadata"]["targetValue"]


def test_without_keda_the_cluster_scales_by_processor_time(tmp_path: Path) -> None:
    """
    Between the same numbers, with the same windows and steps.
    """
    config = config_of(
        tmp_path,
        f'[kubernetes]\n{IMAGE}\nautoscaler = "hpa"\nservices = []\nmigrations = false\n'
        "[workers.prefork.kubernetes]\nmin = 2\nmax = 5\nscale_in_seconds = 60\n",
    )

    found = objects_of(config)

    assert [] == problems_of(config)
    spec = found["HorizontalPodAutoscaler", "task-server-prefork"]["spec"]
    assert (2, 5) == (spec["minReplicas"], spec["maxReplicas"])
    assert 60 == spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"]
    assert {"ServiceAccount", "ConfigMap", "Deployment", "PodDisruptionBudget"} == {
        kind for kind, _ in found
    } - {"HorizontalPodAutoscaler"}
    assert "initContainers" not in pods_of(found)["task-server-prefork"]


def test_a_beat_without_a_lock_never_runs_twice(tmp_path: Path) -> None:
    """
    With it, a new one waits beside the old one; without it the old one must end first.
    """
    text = f'[kubernetes]\n{IMAGE}\nservices = ["beat"]\n[beat]\nlock_seconds = 0\n'

    found = objects_of(config_of(tmp_path, text))

    assert {"type": "Recreate"} == found["Deployment", "task-server-beat"]["spec"]["strategy"]


def test_without_a_worker_in_the_configuration_there_is_one_of_each_pool(tmp_path: Path) -> None:
    """
    As `task-server up` starts them; not the one that replaces both.
    """
    found = objects_of(config_of(tmp_path, f"[kubernetes]\n{IMAGE}\n"))

    assert {"task-server-prefork", "task-server-gevent", "task-server-metrics"} == {
        name for kind, name in found if kind == "Deployment"
    }
