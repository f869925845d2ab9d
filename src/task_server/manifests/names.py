"""What objects are called and labelled, and how sizes are written."""

import hashlib
import json
from typing import Any

from task_server.config.kubernetes import KubernetesConfig

Object = dict[str, Any]

#: Of a Deployment: its pods add a dash, ten characters, a dash and five, and a host's name,
#: which is a worker's as well, is cut at 63; two of one name would disturb each other.
LONGEST = 63 - 17

#: Digits of a hash in a name.
DIGITS = 10

_PREFIX = "app.kubernetes.io"


def name_of(kubernetes: KubernetesConfig, part: str = "") -> str:
    """Return the name of the object of *part*, a worker or a service; without one, the prefix."""
    return "-".join(filter(None, (kubernetes.name, part.replace("_", "-"))))


def labels(kubernetes: KubernetesConfig, component: str = "") -> dict[str, str]:
    """Return the labels of an object; those of *component* select its pods."""
    found = {f"{_PREFIX}/name": "task-server", f"{_PREFIX}/instance": kubernetes.name}
    if component:
        found[f"{_PREFIX}/component"] = component
    return found


def metadata(kubernetes: KubernetesConfig, name: str, component: str = "") -> Object:
    """Return the metadata of the object *name*."""
    return {
        "name": name,
        "namespace": kubernetes.namespace,
        "labels": labels(kubernetes, component),
    }


def selector(kubernetes: KubernetesConfig, component: str) -> Object:
    """Return what selects the pods of *component*."""
    return {"matchLabels": labels(kubernetes, component)}


def digest(*parts: Any) -> str:
    """Return a short hash of *parts*; equal JSON gives an equal hash."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def memory(size: int) -> str:
    """Return *size*, in bytes, as the cluster writes it: 512Mi."""
    for unit, factor in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def whole_mebibytes(size: int) -> int:
    """Return *size*, in bytes, rounded up to whole mebibytes, so that `memory` says it shortly."""
    return -(-size // 2**20) * 2**20


def processors(number: float) -> str:
    """Return *number* of processors as the cluster writes it: 2, or 500m."""
    thousandths = round(number * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)
