"""For the Prometheus operator: where the metrics are, and the alerts on them."""

from collections.abc import Mapping
from typing import Any

from task_server.manifests.names import Object, metadata, name_of, selector
from task_server.manifests.plan import Plan

API = "monitoring.coreos.com/v1"


def pod_monitor(plan: Plan) -> Object:
    """Return the PodMonitor of the metrics."""
    own = plan.kubernetes
    return {
        "apiVersion": API,
        "kind": "PodMonitor",
        "metadata": metadata(own, name_of(own, "metrics"), "metrics"),
        "spec": {
            "selector": selector(own, "metrics"),
            "podMetricsEndpoints": [{"port": "http", "path": "/metrics"}],
        },
    }


def prometheus_rule(plan: Plan, alerts: Mapping[str, Any]) -> Object:
    """Return the PrometheusRule of *alerts*, the contents of a file of rules."""
    own = plan.kubernetes
    return {
        "apiVersion": API,
        "kind": "PrometheusRule",
        "metadata": metadata(own, name_of(own)),
        "spec": {"groups": alerts["groups"]},
    }
