"""Every object of a plan, in the order in which they are applied."""

from collections.abc import Iterator, Mapping
from typing import Any

from task_server.manifests import (
    availability,
    deployments,
    description,
    migrations,
    monitoring,
    networking,
    scaling,
)
from task_server.manifests.names import Object
from task_server.manifests.plan import Plan


def objects(plan: Plan, alerts: Mapping[str, Any]) -> list[Object]:
    """
    Return every object of *plan*; no two have the same kind and name.

    Args:
        alerts: The rules for Prometheus, as their file has them.
    """
    return [
        availability.account(plan),
        description.config_map(plan.config),
        *([migrations.job(plan)] if plan.kubernetes.migrations else []),
        *_workers(plan),
        *_services(plan),
        *_of_operator(plan, alerts),
        *(networking.policies(plan) if plan.kubernetes.network_policy else ()),
    ]


def _workers(plan: Plan) -> Iterator[Object]:
    for pods in plan.workers:
        yield deployments.worker(plan, pods)
        yield availability.budget(plan, pods.name)
        scaler = scaling.scaler(plan, pods)
        if scaler is not None:
            yield scaler


def _services(plan: Plan) -> Iterator[Object]:
    for name in plan.services:
        yield deployments.service(plan, name)
        yield availability.budget(plan, name)
        reached = networking.service(plan, name)
        if reached is not None:
            yield reached


def _of_operator(plan: Plan, alerts: Mapping[str, Any]) -> Iterator[Object]:
    if plan.kubernetes.pod_monitor:
        yield monitoring.pod_monitor(plan)
    if plan.kubernetes.prometheus_rule:
        yield monitoring.prometheus_rule(plan, alerts)
