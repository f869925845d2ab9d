"""What all pods have in common: who they run as, what is mounted, which variables they have."""

from collections.abc import Mapping
from typing import Any

from task_server.config.services import SERVICES
from task_server.config.variables import variable
from task_server.manifests import description
from task_server.manifests.names import Object, labels, memory, name_of, processors
from task_server.manifests.plan import Plan

#: www-data, whom the images and the media files belong to.
USER = 33

#: Read-only, for the pod's user and group; `fsGroup` makes the group the pod's.
SECRET_MODE = 0o440

NODE = {"fieldRef": {"fieldPath": "spec.nodeName"}}

#: Folder of our secrets, and that of the project's: a folder in it for each Secret, by its name.
OURS = "/run/task-server"
THEIRS = "/run/secrets"


def container(
    plan: Plan,
    name: str,
    image: str,
    arguments: tuple[str, ...],
    *,
    service: str,
    resources: Object,
    environ: Mapping[str, str] | None = None,
) -> Object:
    """
    Return a container that runs task-server with *arguments*.

    Args:
        service: Whose secrets it gets.

        environ: Variables beside those of all.
    """
    own = plan.kubernetes
    variables = {
        "HOME": "/tmp",  # noqa: S108 - the one folder that is written
        **dict(own.env),
        "TASK_SERVER_CONFIG": f"{description.FOLDER}/{description.FILE}",
        **{f"{variable(one)}_FILE": f"{OURS}/{one}" for one in _secrets(plan, service)},
        **(environ or {}),
    }
    if own.code_claim:
        variables.setdefault("PYTHONPATH", own.code_path)
    if own.media_claim:
        variables["DJANGO_MEDIA_ROOT"] = own.media_path
    found: Object = {
        "name": name,
        "image": image,
        "imagePullPolicy": own.pull_policy,
        "command": list(own.command),
        "args": list(arguments),
        "env": [
            *({"name": one, "value": value} for one, value in sorted(variables.items())),
            # `status` names the node beside the pod.
            {"name": variable("machine"), "valueFrom": NODE},
        ],
    }
    if own.code_claim:
        found["workingDir"] = own.code_path
    sources = [
        *({"configMapRef": {"name": one}} for one in own.env_config_maps),
        *({"secretRef": {"name": one}} for one in own.env_secrets),
    ]
    if sources:
        found["envFrom"] = sources
    return {
        **found,
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        # The last lines of the log are the error and its cure: `kubectl describe` shows them.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(plan, service),
    }


def resources(cpu: float, size: int, cpu_limit: float | None = None) -> Object:
    """Return what a container asks for and may use; memory is both, for it is not given back."""
    limits = {"cpu": processors(cpu_limit)} if cpu_limit else {}
    return {
        "requests": {"cpu": processors(cpu), "memory": memory(size)},
        "limits": {**limits, "memory": memory(size)},
    }


def template(
    plan: Plan,
    component: str,
    *,
    service: str,
    containers: list[Object],
    waits: list[Object],
    grace: int,
    annotations: Mapping[str, str] | None = None,
    scheduling: Mapping[str, Any] | None = None,
) -> Object:
    """
    Return the pods of *component*, which a namespace that enforces `restricted` takes.

    Args:
        waits: Containers that must have ended well before the others begin.

        grace: Seconds from SIGTERM to SIGKILL.
    """
    own = plan.kubernetes
    spec: Object = {
        "serviceAccountName": name_of(own),
        "automountServiceAccountToken": False,
        # Their variables would have the names of settings.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace,
        "securityContext": {
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if own.pull_secrets:
        spec["imagePullSecrets"] = [{"name": one} for one in own.pull_secrets]
    spec |= scheduling or {}
    if waits:
        spec["initContainers"] = waits
    spec["containers"] = containers
    spec["volumes"] = _volumes(plan, service)
    described: Object = {"labels": labels(own, component)}
    if annotations:
        described["annotations"] = dict(annotations)
    return {"metadata": described, "spec": spec}


def program(plan: Plan) -> list[str]:
    """Return what starts task-server beside the container's first process: without its init."""
    words = list(plan.kubernetes.command)
    return words[words.index("--") + 1 :] if "--" in words[:-1] else words


def _secrets(plan: Plan, service: str) -> dict[str, tuple[str, str]]:
    """Return the Secret and key of each of our secrets that *service* gets, by the setting."""
    alone = {one for name, row in SERVICES.items() if name != service for one in row.secrets} - set(
        SERVICES[service].secrets
    )
    return {
        setting: (where.partition("/")[0], where.partition("/")[2])
        for setting, where in plan.kubernetes.secrets
        if setting.replace(".", "_") not in alone
    }


def _mounts(plan: Plan, service: str) -> list[Object]:
    own = plan.kubernetes
    found: list[Object] = [
        {"name": "config", "mountPath": description.FOLDER, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the one folder that is written
    ]
    if _secrets(plan, service):
        found.append({"name": "secrets", "mountPath": OURS, "readOnly": True})
    found += [
        {"name": f"files-{number}", "mountPath": f"{THEIRS}/{one}", "readOnly": True}
        for number, one in enumerate(own.secret_files)
    ]
    if own.code_claim:
        found.append({"name": "code", "mountPath": own.code_path, "readOnly": True})
    if own.media_claim:
        media: Object = {"name": "media", "mountPath": own.media_path}
        found.append(media | ({"readOnly": True} if _reads_media(plan, service) else {}))
    return found


def _volumes(plan: Plan, service: str) -> list[Object]:
    own = plan.kubernetes
    settings = description.config_map(plan.config)["metadata"]["name"]
    found: list[Object] = [
        {"name": "config", "configMap": {"name": settings}},
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": memory(own.tmp)}},
    ]
    secrets = _secrets(plan, service)
    if secrets:
        sources = [
            {"secret": {"name": name, "items": [{"key": key, "path": setting}]}}
            for setting, (name, key) in sorted(secrets.items())
        ]
        found.append(
            {"name": "secrets", "projected": {"defaultMode": SECRET_MODE, "sources": sources}}
        )
    found += [
        # The name of a volume is shorter than a Secret's, and has no dot.
        {"name": f"files-{number}", "secret": {"secretName": one, "defaultMode": SECRET_MODE}}
        for number, one in enumerate(own.secret_files)
    ]
    claims = [("code", own.code_claim, True)]
    claims.append(("media", own.media_claim, _reads_media(plan, service)))
    for name, claim, read_only in claims:
        if claim:
            volume: Object = {"claimName": claim} | ({"readOnly": True} if read_only else {})
            found.append({"name": name, "persistentVolumeClaim": volume})
    return found


def _reads_media(plan: Plan, service: str) -> bool:
    return plan.config.media == "read-only" or not SERVICES[service].writes_media
