"""Which workers a check is about, and their numbers as the project leaves them."""

from dataclasses import replace

from task_server.checks.facts import Facts
from task_server.config.model import BUILT_IN_WORKERS, Config
from task_server.config.values import ALL_QUEUES
from task_server.launch.command import decide
from task_server.launch.machine import this_machine
from task_server.launch.precedence import settled
from task_server.launch.profiles import Profile, profile_of

#: The built-in worker that stands in for the two others in a single container.
ALONE = "all"


def used(config: Config, facts: Facts | None) -> dict[str, int]:
    """
    Return one of each worker that is used: those described, and of ours those with a queue.

    A built-in worker that nobody mentions is used for a queue of the project that no
    described one takes from.
    """
    described = {
        name
        for name in config.workers
        if name not in BUILT_IN_WORKERS
        or any(origin.startswith(f"workers.{name}.") for origin in config.origins)
    }
    chosen = set(described)
    if facts is None:
        chosen |= set() if described else set(BUILT_IN_WORKERS) - {ALONE}
    else:
        queues = {*facts.named, *(one.queue for one in facts.seen if one.certain)}
        for name in described:
            own = config.workers[name].queues
            queues = set() if ALL_QUEUES in own else queues - set(own)
        chosen |= {
            name
            for name, worker in BUILT_IN_WORKERS.items()
            if name != ALONE and queues & set(worker.queues)
        }
    # Somebody must take the default queue.
    return {name: 1 for name in config.workers if name in (chosen or {"prefork"})}


def profile(config: Config, name: str, facts: Facts | None) -> Profile:
    """Return the worker *name* as it will be, with what the project itself sets."""
    machine = this_machine()
    given = profile_of(config.workers[name], machine)
    if facts is None:
        return given
    own = {one: facts.values[one] for one in facts.own}
    worker = settled(decide(config, given, ""), own, machine).worker
    assert isinstance(worker.concurrency, int)  # noqa: S101 - it was decided
    assert worker.prefetch_multiplier is not None  # noqa: S101
    return replace(
        given,
        concurrency=worker.concurrency,
        prefetch_multiplier=worker.prefetch_multiplier,
        max_memory_per_child=worker.max_memory_per_child,
    )
