"""Who the pods are to the cluster, and how many of them may be taken away at once."""

from task_server.manifests.names import Object, metadata, name_of, selector
from task_server.manifests.plan import Plan


def account(plan: Plan) -> Object:
    """Return the ServiceAccount of all pods, which has no token: none asks the cluster."""
    own = plan.kubernetes
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(own, name_of(own)),
        "automountServiceAccountToken": False,
    }


def budget(plan: Plan, component: str) -> Object:
    """
    Return the PodDisruptionBudget of *component*: a node that is drained takes one pod at a time.

    Not "one must stay", which would keep the node of a single pod from ever being drained;
    and a pod that is not ready, while Redis is away, holds up nobody.
    """
    own = plan.kubernetes
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(own, name_of(own, component), component),
        "spec": {
            "maxUnavailable": 1,
            "selector": selector(own, component),
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
