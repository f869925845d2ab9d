"""Queues that tasks go to and no worker takes from."""

from collections.abc import Iterator

from task_server.checks.facts import Case, Facts, listed
from task_server.findings import Finding


def queues(case: Case) -> Iterator[Finding]:
    """Find the queues whose tasks would wait for ever."""
    if case.facts is None:
        return
    taken = {queue for profile in case.profiles.values() for queue in profile.worker.queues}
    wanted = _wanted(case.facts)
    left = {queue: who for queue, who in wanted.items() if queue not in taken}
    for queue, who in left.items():
        yield Finding(
            "error",
            f"queue {queue}",
            f"no worker takes from it, so its tasks wait for ever; it is named by {listed(who)}",
            f"add it to the queues of a worker: workers.NAME.queues = [..., {queue!r}]",
        )
    if not left:
        yield Finding("ok", "queues", f"a worker takes from each: {listed(list(wanted), 20)}")


def _wanted(facts: Facts) -> dict[str, list[str]]:
    """Return who names each queue, by queue."""
    found: dict[str, list[str]] = {}
    found[str(facts.values.get("task_default_queue", "celery"))] = ["task_default_queue"]
    for pattern, queue in facts.routes:
        found.setdefault(queue, []).append(f"task_routes[{pattern!r}]")
    for queue in facts.queues:
        found.setdefault(queue, []).append("task_queues")
    for task in facts.tasks:
        if task.queue is not None:
            found.setdefault(task.queue, []).append(f"the task {task.name}")
    return found
