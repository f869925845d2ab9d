"""Which workers to check, and their numbers with the project's settings applied."""

from task_server.checks.facts import ProjectFacts
from task_server.config.model import BUILT_IN_WORKERS, Config
from task_server.config.pools import DEFAULT
from task_server.config.values import ALL_QUEUES
from task_server.launch.machine import this_machine
from task_server.launch.precedence import with_project, worker_spec
from task_server.launch.spec import WorkerSpec

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
    return {name: 1 for name in config.workers if name in (chosen or {DEFAULT})}


def spec_of(config: Config, name: str, facts: ProjectFacts | None) -> WorkerSpec:
    """Return the spec of the worker *name*, with what the project itself sets."""
    spec = worker_spec(config, name, this_machine())
    if facts is None:
        return spec
    return with_project(spec, {one: facts.values[one] for one in facts.own})
