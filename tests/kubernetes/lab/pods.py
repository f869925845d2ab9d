"""What a pod is, and the processes in it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support import proc

Pod = dict[str, Any]


def names(pods: Iterable[Pod]) -> set[str]:
    """Return the names of *pods*."""
    return {str(pod["metadata"]["name"]) for pod in pods}


def image(pod: Pod) -> str:
    """Return the image that it runs."""
    return str(pod["spec"]["containers"][0]["image"])


def is_ready(pod: Pod) -> bool:
    """Whether Kubernetes has it for ready, and does not end it."""
    conditions = pod["status"].get("conditions", ())
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def restarts(pod: Pod) -> int:
    """Return how often its container has been started again."""
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ()))


def processes(pod: Pod) -> list[int]:
    """Return the processes of its container, as this machine counts them."""
    (status,) = pod["status"]["containerStatuses"]
    container = status["containerID"].rpartition("/")[2]
    return [pid for pid in proc.pids() if container in _group(pid)]


def signal(pod: Pod, number: int) -> None:
    """Send the signal to each process of its container but the init, which only waits."""
    for pid in processes(pod):
        if "catatonit" not in _program(pid):
            os.kill(pid, number)


def _group(pid: int) -> str:
    return _read(pid, "cgroup")


def _program(pid: int) -> str:
    return _read(pid, "cmdline").partition("\0")[0]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
