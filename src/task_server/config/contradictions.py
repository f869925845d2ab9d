"""Settings of one worker that cannot all be true."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from task_server.config.model import AUTO, WorkerConfig
from task_server.config.pools import DEFAULT, POOLS
from task_server.errors import Problem

#: Arguments that a setting gives; in `extra_args` they would contradict it.
OWN_ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        "--app": "app",
        "-A": "app",
        "--pool": "pool",
        "-P": "pool",
        "--queues": "queues",
        "-Q": "queues",
        "--concurrency": "concurrency",
        "-c": "concurrency",
        "--prefetch-multiplier": "prefetch_multiplier",
        "--max-memory-per-child": "max_memory_per_child",
        "--max-tasks-per-child": "max_tasks_per_child",
        "--time-limit": "time_limit",
        "--soft-time-limit": "soft_time_limit",
        "--loglevel": "log_level",
        "-l": "log_level",
        "--task-events": "events",
        "--events": "events",
        "-E": "events",
        "--hostname": "name",
        "-n": "name",
        # Of all of Celery's commands, and secrets: `ps` shows arguments to every user.
        "--broker": "broker_url",
        "-b": "broker_url",
        "--result-backend": "result_backend",
    }
)

#: It had no setting, so files have it among `extra_args`.
OLD_ARGUMENT = "--max-tasks-per-child"

#: Those of them that belong to no worker alone.
SECRET_SETTINGS = frozenset({"broker_url", "result_backend"})


def contradictions(worker: WorkerConfig, setting: str) -> Iterator[Problem]:
    """Return what contradicts what in *worker*, whose dotted name is *setting*."""
    yield from _of_pool(worker, setting)
    if (
        worker.time_limit is not None
        and worker.soft_time_limit is not None
        and worker.soft_time_limit >= worker.time_limit
    ):
        yield Problem(
            f"{setting}.soft_time_limit",
            f"{worker.soft_time_limit:g} is not below time_limit ({worker.time_limit:g})",
        )
    for argument in worker.extra_args:
        own = _setting_of(argument)
        if argument.startswith(OLD_ARGUMENT) and worker.max_tasks_per_child is None:
            continue
        if own is not None:
            secret = own in SECRET_SETTINGS
            # The value of a secret is not printed.
            named = _option(argument) if secret else argument
            right = own if secret else f"{setting}.{own}"
            yield Problem(f"{setting}.extra_args", f"{named} contradicts {right}; set that")


def _of_pool(worker: WorkerConfig, setting: str) -> Iterator[Problem]:
    if not POOLS[worker.pool].green:
        return
    if worker.concurrency == AUTO:
        yield Problem(
            f"{setting}.concurrency",
            f"'auto' counts processors, which {worker.pool} does not use; give a number",
        )
    for name in ("max_memory_per_child", "max_tasks_per_child"):
        if getattr(worker, name) is not None:
            yield Problem(
                f"{setting}.{name}",
                f"the {worker.pool} pool cannot enforce it; leave it out or use pool '{DEFAULT}'",
            )


def _option(argument: str) -> str:
    """Return the name of the option in *argument*, without its value."""
    return argument.split("=", maxsplit=1)[0] if argument.startswith("--") else argument[:2]


def _setting_of(argument: str) -> str | None:
    """Return the setting of ours that gives *argument*; None if none does."""
    name = argument.split("=", 1)[0]
    if name in OWN_ARGUMENTS or argument.startswith("--"):
        return OWN_ARGUMENTS.get(name)
    # A short option with its value attached, such as -c4.
    return OWN_ARGUMENTS.get(argument[:2])
