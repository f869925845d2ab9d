"""Which workers to check, and their numbers with the project's settings applied."""

from dataclasses import replace

from task_server.checks.facts import ProjectFacts
from task_server.config.model import BUILT_IN_WORKERS, Config
from task_server.config.values import ALL_QUEUES
from task_server.launch.command import decide
from task_server.launch.machine import this_machine
from task_server.launch.precedence import settled
from task_server.launch.profiles import Profile, profile_of

#: The built-in worker that replaces the other two in a single container.
SINGLE = "all"


def used(config: Config, facts: ProjectFacts | None) -> dict[str, int]:
    """
    Return one of each worker in use: those configured, and built-in ones with a queue.

    A built-in worker is in use if it consumes a queue of the project that no
    configured worker consumes.
    """
    configured = {
        name
        for name in config.workers
        if name not in BUILT_IN_WORKERS
        or any(origin.startswith(f"workers.{name}.") for origin in config.origins)
    }
    chosen = set(configured)
    if facts is None:
        chosen |= set() if configured else set(BUILT_IN_WORKERS) - {SINGLE}
    else:
        queues = {*facts.named, *(one.queue for one in facts.seen if one.certain)}
        for name in configured:
            own = config.workers[name].queues
            queues = set() if ALL_QUEUES in own else queues - set(own)
        chosen |= {
            name
            for name, worker in BUILT_IN_WORKERS.items()
            if name != SINGLE and queues & set(worker.queues)
        }
    # Some worker must consume the default queue.
    return {name: 1 for name in config.workers if name in (chosen or {"prefork"})}


def profile(config: Config, name: str, facts: ProjectFacts | None) -> Profile:
    """Return the worker *name* with the project's own settings applied."""
    machine = this_machine()
    given = profile_of(config.workers[name], machine)
    if facts is None:
        return given
    own = {one: facts.values[one] for one in facts.own}
    worker = settled(decide(config, given, ""), own, machine).worker
    assert isinstance(worker.concurrency, int)  # noqa: S101 - it has been decided
    assert worker.prefetch_multiplier is not None  # noqa: S101
    return replace(
        given,
        concurrency=worker.concurrency,
        prefetch_multiplier=worker.prefetch_multiplier,
        max_memory_per_child=worker.max_memory_per_child,
    )
