"""How pods are reached, and by whom: Services, and policies of the network."""

from collections.abc import Iterator

from task_server.manifests.deployments import port_of
from task_server.manifests.names import Object, labels, metadata, name_of, selector
from task_server.manifests.plan import Plan


def service(plan: Plan, name: str) -> Object | None:
    """Return the Service of the service *name*; None if it has no port."""
    port = port_of(plan, name)
    if port is None:
        return None
    own = plan.kubernetes
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(own, name_of(own, name), name),
        "spec": {
            "ports": [{"name": "http", "port": port, "targetPort": "http"}],
            # While Redis does not answer, the metrics say so: that is an answer as well.
            **({"publishNotReadyAddresses": True} if name == "metrics" else {}),
            "selector": labels(own, name),
        },
    }


def host_of(plan: Plan, name: str) -> str:
    """Return the host and port of the Service of *name*, from any namespace."""
    own = plan.kubernetes
    return f"{name_of(own, name)}.{own.namespace}.svc:{port_of(plan, name)}"


def policies(plan: Plan) -> Iterator[Object]:
    """Yield the policies: only services accept connections; those that pods open are left alone."""
    yield _policy(plan, "", {"matchLabels": labels(plan.kubernetes)}, [])
    for name in plan.services:
        port = port_of(plan, name)
        if port is None:
            continue
        # Prometheus and KEDA have namespaces of their own; Flower is for this one.
        anybody: Object = {"namespaceSelector": {}} if name == "metrics" else {"podSelector": {}}
        allowed = {"from": [anybody], "ports": [{"port": port, "protocol": "TCP"}]}
        yield _policy(plan, name, selector(plan.kubernetes, name), [allowed])


def _policy(plan: Plan, component: str, pods: Object, ingress: list[Object]) -> Object:
    own = plan.kubernetes
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(own, name_of(own, component), component),
        # The API server drops an empty list, so that each `apply` would change the object.
        "spec": {
            "podSelector": pods,
            "policyTypes": ["Ingress"],
            **({"ingress": ingress} if ingress else {}),
        },
    }
