"""
What Deployments and stacks made for `celery worker`, such as CourtListener's, size a worker by.

Their variables count for the worker that is launched and for no other, so that one image
serves many Deployments: above the file, and below the variables TASK_SERVER_….
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from task_server.config.model import AUTO
from task_server.config.pools import POOLS

#: The variable of each setting of the launched worker; {POOL} is the name of its pool.
VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "queues": "CELERY_QUEUES",
        "concurrency": "CELERY_{POOL}_CONCURRENCY",
        "prefetch_multiplier": "CELERY_PREFETCH_MULTIPLIER",
        "max_tasks_per_child": "CELERY_MAX_TASKS_PER_CHILD",
    }
)

#: Of those, the settings of workers whose tasks have processes.
OF_PROCESSES = frozenset({"max_tasks_per_child"})


def names_queues(environ: Mapping[str, str]) -> bool:
    """Whether *environ* names the queues of the launched worker, which may be in no file then."""
    return bool(environ.get(VARIABLES["queues"], "").strip())


def given(environ: Mapping[str, str], pool: str) -> dict[str, tuple[Any, str]]:
    """
    Return what *environ* gives the launched worker, raw, and its variable, by its setting.

    An empty variable gives nothing, as in a shell's ``${NAME:-0}``.

    Args:
        pool: That of the worker.
    """
    is_green = pool in POOLS and POOLS[pool].green
    found: dict[str, tuple[Any, str]] = {}
    for setting, template in VARIABLES.items():
        name = template.format(POOL=pool.upper())
        raw = environ.get(name, "").strip()
        if raw and not (is_green and setting in OF_PROCESSES):
            found[setting] = (raw, name)
    # To Celery 0 processes are as many as there are processors, and 0 tasks are no limit.
    if found.get("concurrency", ("",))[0] == "0":
        if is_green:
            del found["concurrency"]
        else:
            found["concurrency"] = (AUTO, found["concurrency"][1])
    if found.get("max_tasks_per_child", ("",))[0] == "0":
        del found["max_tasks_per_child"]
    return found
