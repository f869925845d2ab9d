"""
Operator > project > our default, for the numbers of a worker that the launcher decides.

The launcher does not import the project, so it decides as if that said nothing.
What the project sets itself is put in here, in the worker, where the operator
said nothing about it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from task_server.config.model import AUTO
from task_server.config.values import MOST, shown
from task_server.errors import ConfigError, Problem
from task_server.launch.profiles import Machine, profile_of
from task_server.launch.spec import Decision

#: The setting of ours for each Celery setting that counts for a worker where only the
#: project gives it; and the bytes, or pieces, of one unit of Celery's.
NUMBERS: Mapping[str, tuple[str, int]] = {
    "worker_concurrency": ("concurrency", 1),
    "worker_prefetch_multiplier": ("prefetch_multiplier", 1),
    "worker_max_memory_per_child": ("max_memory_per_child", 1024),
}

#: What Celery calls the two pools besides their names (`celery.concurrency.ALIASES`).
POOLS: Mapping[str, str] = {"processes": "prefork"}


def settled(decision: Decision, own: Mapping[str, Any], machine: Machine) -> Decision:
    """
    Return *decision* as it is in a worker of a project that sets *own*.

    A number that the project chose for one pool is wrong for the other (four
    processes, four greenlets), so it counts for workers of its own `worker_pool`.

    Args:
        own: The Celery settings that the project itself sets, by name.

    Raises:
        ConfigError: When a number of the project is none.
    """
    worker, given = decision.worker, decision.given
    said = dict(decision.said)
    numbers: dict[str, Any] = {}
    problems = []
    for name, (ours, unit) in NUMBERS.items():
        # `auto` is what ours is by itself.
        if ours in said or own.get(name) in (None, AUTO):
            continue
        if pool_of(own) != worker.pool:
            said[ours] = f"the pool, {worker.pool}: the project's is for {pool_of(own)}"
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
            said[ours] = f"the pool: {number} of the project is no number of it"
    if problems:
        raise ConfigError(problems, "the project's settings")
    if given is not None and "concurrency" in numbers:
        # What each child may grow to depends on how many there are.
        profile = profile_of(replace(given, concurrency=numbers["concurrency"]), machine)
        worker = replace(worker, max_memory_per_child=profile.max_memory_per_child)
    return replace(decision, worker=replace(worker, **numbers), said=said)


def pool_of(own: Mapping[str, Any]) -> str:
    """Return the pool that the numbers in *own* are for."""
    pool = str(own.get("worker_pool") or "prefork")
    return POOLS.get(pool, pool)
