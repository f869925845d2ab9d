"""A task that is to be called: whether the project has it, and which queue it goes to."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from task_server.config.model import Config
from task_server.config.values import ALL_QUEUES

#: Names that an error lists.
MOST = 5

#: What Celery registers itself.
_CELERYS = "celery."


def tasks_of(app: Any) -> list[str]:
    """Return the names of the project's tasks, sorted; Celery's own are not among them."""
    return sorted(name for name in app.tasks if not name.startswith(_CELERYS))


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """Return those of *names* that *name* may have meant, the likeliest first."""
    known = list(names)
    last = name.rpartition(".")[2]
    same = [one for one in known if one.rpartition(".")[2] == last]
    alike = get_close_matches(name, known, n=MOST, cutoff=0.75)
    tails = {one.rpartition(".")[2]: one for one in known}
    of_tails = [tails[one] for one in get_close_matches(last, tails, n=MOST, cutoff=0.75)]
    return list(dict.fromkeys([*same, *alike, *of_tails]))[:MOST]


def queue_of_call(
    app: Any, name: str, arguments: Iterable[Any], named: Mapping[str, Any], queue: str | None
) -> str:
    """Return the queue that a call of the task *name* goes to, as *app* routes it."""
    task = app.tasks.get(name)
    options: dict[str, Any] = {"queue": queue} if queue else {}
    if not queue and getattr(task, "queue", None):
        options["queue"] = task.queue
    route = app.amqp.router.route(options, name, tuple(arguments), dict(named), task_type=task)
    found = route.get("queue")
    if found is None:
        return str(route.get("routing_key") or app.conf.task_default_queue)
    return str(getattr(found, "name", found))


def takers(config: Config, queue: str) -> list[str]:
    """Return the workers of *config* that take from *queue*."""
    return [
        name
        for name, worker in config.workers.items()
        if queue in worker.queues or ALL_QUEUES in worker.queues
    ]
