"""How many pods a worker has: KEDA by what waits and runs, or the cluster by processor time."""

from typing import Any

from task_server.manifests.names import Object, metadata, name_of
from task_server.manifests.networking import host_of
from task_server.manifests.plan import Plan, Pods

#: Seconds between two requests of KEDA's; each is answered from one snapshot of Redis.
POLLING_SECONDS = 15

#: Requests that must fail, one after the other, before KEDA takes its fallback.
FAILURES = 3

#: Processor time, of what a pod asks for, at which the cluster adds pods.
UTILIZATION = 70

#: Out: at once, twice as many every 15 seconds or four more, whichever is more: what waits is
#: counted exactly, so nothing has to be waited for. In: when there was too little to do for a
#: whole window, a quarter a minute or one: a pod that goes may be at work, and drains; if load
#: returns, most are still there.
SCALE_OUT: dict[str, Any] = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Percent", "value": 100, "periodSeconds": 15},
        {"type": "Pods", "value": 4, "periodSeconds": 15},
    ],
}
SCALE_IN: dict[str, Any] = {
    "selectPolicy": "Max",
    "policies": [
        {"type": "Percent", "value": 25, "periodSeconds": 60},
        {"type": "Pods", "value": 1, "periodSeconds": 60},
    ],
}


def scaler(plan: Plan, pods: Pods) -> Object | None:
    """Return what scales the worker of *pods*; None where its number is fixed."""
    if not pods.is_scaled or plan.kubernetes.autoscaler == "none":
        return None
    return _hpa(plan, pods) if plan.kubernetes.autoscaler == "hpa" else _scaled_object(plan, pods)


def _scaled_object(plan: Plan, pods: Pods) -> Object:
    own = plan.kubernetes
    name = name_of(own, pods.name)
    window = round(pods.config.scale_in_seconds)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(own, name, pods.name),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "pollingInterval": POLLING_SECONDS,
            # From one pod to none; all other steps are the behaviour's.
            "cooldownPeriod": window,
            "minReplicaCount": pods.fewest,
            "maxReplicaCount": pods.most,
            # Without an answer of the metrics no pod is stopped, and one at least runs.
            "fallback": {
                "failureThreshold": FAILURES,
                "replicas": max(1, pods.fewest),
                "behavior": "currentReplicasIfHigher",
            },
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(window)}},
            "triggers": _triggers(plan, pods),
        },
    }


def _triggers(plan: Plan, pods: Pods) -> list[Object]:
    """Return what KEDA asks for; of two numbers of pods the larger counts."""
    found = [_trigger(plan, pods, "load", f"{pods.spec.concurrency}")]
    if pods.config.wait_target:
        found.append(_trigger(plan, pods, "oldest_seconds", f"{pods.config.wait_target:g}"))
    return found


def _trigger(plan: Plan, pods: Pods, location: str, target: str) -> Object:
    return {
        "type": "metrics-api",
        "name": location.replace("_", "-"),
        "metricType": "AverageValue",
        "metadata": {
            "url": f"http://{host_of(plan, 'metrics')}/workers/{pods.name}",
            "format": "json",
            "valueLocation": location,
            "targetValue": target,
            "activationTargetValue": "0",
        },
    }


def _hpa(plan: Plan, pods: Pods) -> Object:
    own = plan.kubernetes
    name = name_of(own, pods.name)
    busy = {"type": "Utilization", "averageUtilization": UTILIZATION}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(own, name, pods.name),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": pods.fewest,
            "maxReplicas": pods.most,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": busy}}],
            "behavior": _behavior(round(pods.config.scale_in_seconds)),
        },
    }


def _behavior(window: int) -> Object:
    return {
        "scaleUp": SCALE_OUT,
        "scaleDown": {"stabilizationWindowSeconds": window, **SCALE_IN},
    }
