"""What cannot work together, found before anything is applied: each with its cure."""

from collections.abc import Callable, Iterator
from math import ceil

from task_server.checks.connections import postgres_connections, redis_connections
from task_server.config.services import SERVICES, WORKER
from task_server.config.values import shown
from task_server.config.variables import suggestion, variable
from task_server.errors import Problem
from task_server.launch.profiles.prefork import SMALLEST_CHILD_BYTES
from task_server.manifests import migrations
from task_server.manifests.description import FOLDER, given_secrets, secret_settings
from task_server.manifests.names import LONGEST, memory, name_of, processors, whole_mebibytes
from task_server.manifests.plan import Plan, Pods, needed_memory
from task_server.manifests.pods import OURS, THEIRS

#: Connections to each server that a service beside the workers may open.
SERVICE_CONNECTIONS = 10

#: During a rollout there are a quarter more, rounded up as the cluster does.
SURGE = 1.25


def problems(plan: Plan) -> list[Problem]:
    """Return everything that is wrong with *plan*."""
    found = [*_images(plan), *_services(plan), *_secrets(plan), *_variables(plan)]
    found += _folders(plan)
    for name in plan.services:
        found += _names(plan, name, "kubernetes.name")
    for pods in plan.workers:
        found += _replicas(plan, pods)
        found += _sizes(plan, pods)
        found += _ends(plan, pods)
        found += _names(plan, pods.name, f"workers.{pods.name}")
    found += _connections(plan)
    return found


def _images(plan: Plan) -> Iterator[Problem]:
    own = plan.kubernetes
    named = {*plan.config.workers, *(one.worker.pool for one in plan.workers), *SERVICES}
    for name, _ in own.images:
        if name not in {*named, "migrations"}:
            close = suggestion(name, named)
            yield Problem(
                "kubernetes.images",
                f"{shown(name)} is no worker, pool or service{close or '; remove it'}",
            )
    needed = [(plan.image_of(WORKER.name, one.worker), one.name) for one in plan.workers]
    needed += [(plan.image_of(name), name) for name in plan.services]
    if own.migrations:
        needed.append((plan.image_of("migrations"), "migrations"))
    without = [name for image, name in needed if not image]
    if without:
        yield Problem(
            "kubernetes.image",
            f"is not set, and {', '.join(without)} need it; name the image of the project, "
            "registry/name:tag (or give --image)",
        )


def _services(plan: Plan) -> Iterator[Problem]:
    own = plan.kubernetes
    for name in plan.services:
        if SERVICES[name].port is not None and not getattr(plan.config, name).port:
            yield Problem(f"{name}.port", "is any free one, which no Service finds; set a number")
    if "flower" in plan.services and "flower.basic_auth" not in dict(own.secrets):
        yield Problem(
            "kubernetes.secrets",
            "flower.basic_auth is not among them, so whoever reaches Flower would see arguments of "
            "tasks; name the key of a Secret that has user:password, NAME/KEY",
        )
    if "metrics" in plan.services:
        return
    scaled = [one.name for one in plan.workers if one.is_scaled and own.autoscaler == "keda"]
    if scaled:
        yield Problem(
            "kubernetes.services",
            f"have no metrics, by which KEDA scales {', '.join(scaled)}; add metrics to them, or "
            "set kubernetes.autoscaler to hpa",
        )
    if own.pod_monitor:
        yield Problem("kubernetes.pod_monitor", "there are no metrics; add them to services")


def _secrets(plan: Plan) -> Iterator[Problem]:
    known = secret_settings()
    named = dict(plan.kubernetes.secrets)
    for setting in named:
        if setting not in known:
            close = suggestion(setting, known)
            hint = close or f"; these are: {', '.join(known)}"
            yield Problem("kubernetes.secrets", f"{shown(setting)} is no secret of ours{hint}")
    for setting in given_secrets(plan.config):
        if setting not in named:
            yield Problem(
                "kubernetes.secrets",
                f"{setting} stands in {plan.config.origins[setting]}, and no ConfigMap may have a "
                f"secret; name the key of a Secret: {setting} = 'NAME/KEY'",
            )


def _variables(plan: Plan) -> Iterator[Problem]:
    own = plan.kubernetes
    ours = {f"{variable(setting)}_FILE": "kubernetes.secrets" for setting, _ in own.secrets}
    ours["TASK_SERVER_CONFIG"] = "the ConfigMap"
    ours[variable("machine")] = "the node of the pod"
    if own.media_claim:
        ours["DJANGO_MEDIA_ROOT"] = "kubernetes.media_path"
    for name, _ in own.env:
        if name in ours:
            yield Problem("kubernetes.env", f"{name} is given by {ours[name]}; remove it here")


def _folders(plan: Plan) -> Iterator[Problem]:
    own = plan.kubernetes
    taken = {FOLDER: "the ConfigMap", OURS: "our secrets", THEIRS: "secret_files", "/tmp": "/tmp"}  # noqa: S108
    for setting, claim, path in (
        ("code_path", own.code_claim, own.code_path),
        ("media_path", own.media_claim, own.media_path),
    ):
        if not claim:
            continue
        if path in taken:
            yield Problem(f"kubernetes.{setting}", f"{path} is that of {taken[path]}; name another")
        taken[path] = setting


def _replicas(plan: Plan, pods: Pods) -> Iterator[Problem]:
    config, scaler = pods.config, plan.kubernetes.autoscaler
    if config.max is None:
        if config.min is not None:
            yield Problem(f"{pods.table}.min", "has no max; set both, or replicas alone")
        return
    if config.replicas is not None:
        yield Problem(
            f"{pods.table}.replicas",
            f"contradicts max ({config.max}), between which and min an autoscaler chooses; keep "
            "one of the two",
        )
    if pods.fewest > pods.most:
        yield Problem(f"{pods.table}.min", f"{pods.fewest} is above max ({pods.most}); lower it")
    if scaler == "none":
        yield Problem(
            f"{pods.table}.max",
            "nothing scales the worker; set kubernetes.autoscaler to keda or hpa, or give replicas",
        )
    if scaler == "hpa" and pods.fewest == 0:
        yield Problem(
            f"{pods.table}.min",
            "is 0, but no pod uses processor time of which hpa could learn that there is work; set "
            "1, or kubernetes.autoscaler to keda",
        )


def _sizes(plan: Plan, pods: Pods) -> Iterator[Problem]:
    spec, tmp = pods.spec, plan.kubernetes.tmp
    child = pods.worker.max_memory_per_child or SMALLEST_CHILD_BYTES
    needed = needed_memory(pods.worker, spec, tmp, child)
    if pods.memory < needed:
        parts = f"with {memory(tmp)} of /tmp"
        if not spec.pool_row.green:
            parts = f"{spec.concurrency} children of {memory(child)} each, {parts}"
        yield Problem(
            f"{pods.table}.memory",
            f"{memory(pods.memory)} is below the {memory(whole_mebibytes(needed))} that it needs "
            f"({parts}); raise it, or lower concurrency",
        )
    if pods.cpu_limit is not None and pods.cpu > pods.cpu_limit:
        yield Problem(
            f"{pods.table}.cpu_limit",
            f"{processors(pods.cpu_limit)} is below cpu ({processors(pods.cpu)}), which the pod "
            "asks for; raise it",
        )


def _ends(plan: Plan, pods: Pods) -> Iterator[Problem]:
    notice = plan.kubernetes.spot_notice_seconds
    if not pods.config.spot or pods.grace <= notice:
        return
    margin = pods.worker.stop_seconds - pods.worker.drain_seconds
    longest = notice - margin
    cure = (
        f"set drain_seconds to {longest:g} at most"
        if longest >= 0
        else "no worker stops within that"
    )
    yield Problem(
        f"workers.{pods.name}.drain_seconds",
        f"it may take {pods.grace} s to stop, and a spot node vanishes after {notice:g}; {cure}, "
        "or keep it off spot nodes",
    )


def _names(plan: Plan, component: str, setting: str) -> Iterator[Problem]:
    name = name_of(plan.kubernetes, component)
    if component == migrations.COMPONENT:
        yield Problem(setting, "is the name of the Job of migrations; rename it")
    if len(name) > LONGEST:
        yield Problem(
            setting,
            f"{name} is longer than {LONGEST} characters, and hosts of its pods would be cut to "
            "the same name; give it a shorter one, or shorten kubernetes.name",
        )


def _connections(plan: Plan) -> Iterator[Problem]:
    own = plan.kubernetes
    there: dict[str, tuple[int, Callable[[Pods], int]]] = {
        "postgres": (own.postgres_connections, lambda one: postgres_connections(one.spec, [0])),
        "redis": (own.redis_connections, lambda one: redis_connections(one.spec)),
    }
    for server, (most, of_pod) in there.items():
        parts = {one.name: ceil(one.most * SURGE) * of_pod(one) for one in plan.workers}
        needed = sum(parts.values()) + SERVICE_CONNECTIONS * len(plan.services)
        if most and needed > most:
            largest = max(parts, key=lambda name: parts[name])
            yield Problem(
                f"kubernetes.{server}_connections",
                f"all pods open up to {needed} in a rollout, {largest} {parts[largest]} of them, "
                f"and there are {most}; lower max or concurrency of {largest}, or allow for "
                "more (a pooler)",
            )
