"""One Deployment for each worker, and for each service beside them."""

from typing import Any

from task_server.config.cluster_values import toleration
from task_server.config.services import SERVICES, WORKER
from task_server.config.variables import variable
from task_server.manifests import migrations
from task_server.manifests.names import Object, labels, metadata, name_of, selector
from task_server.manifests.plan import SERVICE_CPU, SERVICE_MEMORY, Plan, Pods, service_grace
from task_server.manifests.pods import container, program, resources, template
from task_server.manifests.probes import START_SECONDS, probes

#: New pods take tasks before old ones drain, a quarter more than there are at most.
ROLLOUT = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}}

#: Of what may not run twice for a moment.
RECREATE = {"type": "Recreate"}

#: Nodes of pods with these are left alone by Karpenter and by the cluster autoscaler.
UNDISTURBED = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}

#: Every interface, of a pod that a Service leads to.
ANYWHERE = "0.0.0.0"  # noqa: S104 - it listens in a pod


def worker(plan: Plan, pods: Pods) -> Object:
    """Return the Deployment of one worker."""
    image = plan.image_of(WORKER.name, pods.worker)
    running = container(
        plan,
        "worker",
        image,
        WORKER.arguments(pods.name),
        service=WORKER.name,
        resources=resources(pods.cpu, pods.memory, pods.cpu_limit),
    )
    return _deployment(
        plan,
        pods.name,
        # An autoscaler says how many: what an `apply` said would end some, or start them.
        replicas=None if pods.is_scaled else pods.fewest,
        strategy=ROLLOUT,
        pod=template(
            plan,
            pods.name,
            service=WORKER.name,
            containers=[running | probes(program(plan), pods.name)],
            waits=migrations.waits(
                plan, image, service=WORKER.name, cpu=pods.cpu, memory=pods.memory
            ),
            grace=pods.grace,
            annotations=UNDISTURBED if pods.config.do_not_disrupt else None,
            scheduling=_scheduling(plan, pods),
        ),
    )


def service(plan: Plan, name: str) -> Object:
    """Return the Deployment of the service *name*: one pod."""
    row = SERVICES[name]
    environ = {} if row.port is None else {variable(f"{name}.address"): ANYWHERE}
    image = plan.image_of(name)
    running = container(
        plan,
        name,
        image,
        row.arguments(name),
        service=name,
        resources=resources(SERVICE_CPU, SERVICE_MEMORY),
        environ=environ,
    )
    port = port_of(plan, name)
    if port:
        running["ports"] = [{"name": "http", "containerPort": port}]
    return _deployment(
        plan,
        name,
        replicas=1,
        strategy=RECREATE if name == "beat" and not plan.config.beat.lock_seconds else ROLLOUT,
        pod=template(
            plan,
            name,
            service=name,
            containers=[running | probes(program(plan), name)],
            # Its schedule may be in the database.
            waits=migrations.waits(plan, image, service=name) if name == "beat" else [],
            grace=service_grace(name),
        ),
    )


def port_of(plan: Plan, name: str) -> int | None:
    """Return the port of the service *name*; None if it has none."""
    if SERVICES[name].port is None:
        return None
    return int(getattr(plan.config, name).port)


def _deployment(
    plan: Plan, component: str, *, replicas: int | None, strategy: Object, pod: Object
) -> Object:
    own = plan.kubernetes
    spec: dict[str, Any] = {} if replicas is None else {"replicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(own, name_of(own, component), component),
        "spec": {
            **spec,
            "progressDeadlineSeconds": int(START_SECONDS + migrations.LIMIT_SECONDS),
            "selector": selector(own, component),
            "strategy": strategy,
            "template": pod,
        },
    }


def _scheduling(plan: Plan, pods: Pods) -> Object:
    """Return where the pods of a worker may run: on many nodes rather than on one."""
    found: Object = {}
    if pods.config.node_selector:
        found["nodeSelector"] = dict(pods.config.node_selector)
    if pods.config.tolerations:
        found["tolerations"] = [_toleration(one) for one in pods.config.tolerations]
    found["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels(plan.kubernetes, pods.name)},
            # Those of one version: old pods, which will go, would keep new ones away.
            "matchLabelKeys": ["pod-template-hash"],
        }
    ]
    return found


def _toleration(taint: str) -> Object:
    key, value, effect = toleration(taint)
    found: Object = {"key": key, "operator": "Exists" if value is None else "Equal"}
    if value is not None:
        found["value"] = value
    return found | ({"effect": effect} if effect else {})
