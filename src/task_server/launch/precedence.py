"""
Operator > project > the pool's own numbers: what a worker's spec has of each.

The launcher does not import the project, so it decides as if that set nothing.
What the project sets itself is put in here, in the worker, where the operator
said nothing about it.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from task_server.config.model import AUTO, Config, WorkerConfig
from task_server.config.pools import DEFAULT, POOLS
from task_server.config.values import MOST, shown
from task_server.errors import ConfigError, Problem
from task_server.launch.profiles import PROFILES, Machine
from task_server.launch.spec import WorkerSpec
from task_server.launch.timing import DEFAULT_TIMING, Timing

#: The setting of ours for each Celery setting that counts for a worker where only the
#: project gives it; and the bytes, or pieces, of one unit of Celery's.
NUMBERS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "worker_concurrency": ("concurrency", 1),
        "worker_prefetch_multiplier": ("prefetch_multiplier", 1),
        "worker_max_memory_per_child": ("max_memory_per_child", 1024),
    }
)

#: The settings that the pool chooses where neither operator nor project does.
CHOSEN_BY_POOL = ("concurrency", "prefetch_multiplier", "max_memory_per_child", "memory_limit")


def worker_spec(
    config: Config,
    name: str,
    machine: Machine,
    *,
    runtime_dir: str = "",
    timing: Timing = DEFAULT_TIMING,
) -> WorkerSpec:
    """
    Return the spec of the worker *name* of *config* on *machine*, of a project that sets nothing.

    Args:
        runtime_dir: Folder of the worker's heartbeat.
    """
    worker = config.workers[name]
    profile = PROFILES[worker.pool]
    memory = worker.memory_limit or machine.memory or 0
    concurrency = worker.concurrency
    if not isinstance(concurrency, int):
        concurrency = profile.concurrency(machine)
    chosen: dict[str, Any] = {
        "concurrency": concurrency,
        "prefetch_multiplier": worker.prefetch_multiplier or profile.prefetch_multiplier,
        "memory_limit": profile.drain_memory(memory),
        "max_memory_per_child": worker.max_memory_per_child
        or profile.child_memory(memory, concurrency),
        "max_tasks_per_child": worker.max_tasks_per_child or 0,
        "time_limit": worker.time_limit or 0.0,
        "soft_time_limit": worker.soft_time_limit or 0.0,
    }
    written = {
        field.name: getattr(worker, field.name)
        for field in fields(WorkerConfig)
        if field.name not in chosen
    }
    return WorkerSpec(
        **written,
        **chosen,
        memory=memory,
        visibility_timeout=visibility_timeout(config),
        runtime_dir=runtime_dir,
        origins=origins(config, worker),
        import_seconds=config.import_seconds,
        secrets_in_environment=config.secrets_in_environment,
        failures_kept=config.failures.keep,
        failures_max_age=config.failures.max_age,
        failures_max_bytes=config.failures.max_bytes,
        machine=config.machine or "",
        timing=timing,
    )


def origins(config: Config, worker: WorkerConfig) -> dict[str, str]:
    """Return who gave each setting that the operator gave of all workers and of *worker*."""
    own = f"workers.{worker.name}."
    return {
        # A configuration made in Python has no file or variable to name.
        **{
            ours: "the configuration"
            for ours, _ in NUMBERS.values()
            if getattr(worker, ours) is not None
        },
        **{
            name.removeprefix(own): origin
            for name, origin in config.origins.items()
            if (name.startswith(own) or "." not in name) and "." not in name.removeprefix(own)
        },
    }


def with_project(spec: WorkerSpec, own: Mapping[str, Any]) -> WorkerSpec:
    """
    Return *spec* as it is in a worker of a project that sets *own*.

    A number that the project chose for one pool is wrong for another (four
    processes, four greenlets), so it counts for workers of its own `worker_pool`.

    Args:
        own: The Celery settings that the project itself sets, by name.

    Raises:
        ConfigError: When a number of the project is none.
    """
    known = dict(spec.origins)
    numbers: dict[str, Any] = {}
    problems = []
    for name, (ours, unit) in NUMBERS.items():
        # `auto` is the default of ours.
        if ours in known or own.get(name) in (None, AUTO):
            continue
        if pool_of(own) != spec.pool:
            known[ours] = f"the pool, {spec.pool}: the project's is for {pool_of(own)}"
            continue
        try:
            number = int(own[name])
        except (TypeError, ValueError, OverflowError):
            problems.append(Problem(name, f"{shown(own[name])} is not a whole number; correct it"))
            continue
        # To Celery 0 is no limit of messages, and otherwise "not set".
        number = min(number, MOST * unit)
        if number > 0 or (name == "worker_prefetch_multiplier" and number == 0):
            numbers[ours] = number * unit
        else:
            known[ours] = f"the pool: {number} of the project is no number of it"
    if problems:
        raise ConfigError(problems, "the project's settings")
    if "concurrency" in numbers and "max_memory_per_child" not in spec.origins:
        # What each child may grow to depends on how many there are.
        share = PROFILES[spec.pool].child_memory(spec.memory, numbers["concurrency"])
        numbers.setdefault("max_memory_per_child", share)
    return replace(spec, **numbers, origins=known)


def pool_of(own: Mapping[str, Any]) -> str:
    """Return the pool that the numbers in *own* are for."""
    pool = str(own.get("worker_pool") or DEFAULT)
    return next((row.name for row in POOLS.values() if pool in row.aliases), pool)


def visibility_timeout(config: Config) -> float:
    """
    Return the seconds after which an unacknowledged message returns to its queue.

    It must be above the longest time limit, or a task that still runs is given
    to a second worker; and it is one number for all, since the smallest of all
    the workers on a broker counts.
    """
    if config.visibility_timeout is not None:
        return config.visibility_timeout
    longest = max((worker.time_limit or 0 for worker in config.workers.values()), default=0)
    return max(3600.0, 2 * longest)
