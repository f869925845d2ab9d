"""The machine and the versions that a report was made with."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from task_server.local.servers import binaries

#: Distributions whose versions matter.
PACKAGES = (
    *("task-server", "celery", "kombu", "redis", "hiredis", "gevent", "django", "psycopg2-binary"),
    *("requests", "sentry-sdk"),
    *("huey", "dramatiq", "taskiq", "taskiq-redis", "rq", "arq", "celery-redis-plus"),
)


def machine() -> dict[str, object]:
    """Return what a reader must know to judge the figures."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "redis": _redis(),
        "postgres": _postgres(),
        "load": round(os.getloadavg()[0], 2),
        "revision": _revision(),
        "versions": dict(filter(None, map(_version, PACKAGES))),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _redis() -> str:
    found = binaries.redis(os.environ)
    return f"{found.product} {found.version}"


def _postgres() -> str:
    return next((found.version for found in binaries.postgres(os.environ)), "")


def _version(package: str) -> tuple[str, str] | None:
    try:
        return package, version(package)
    except PackageNotFoundError:
        return None


def _revision() -> str:
    """Return the revision of this checkout; nothing outside one."""
    asked = subprocess.run(
        ["git", "-C", Path(__file__).parent, "describe", "--always", "--dirty", "--abbrev=12"],
        check=False,
        capture_output=True,
        text=True,
    )
    return asked.stdout.strip()
