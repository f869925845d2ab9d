"""Queues that tasks are sent to and no worker consumes."""

import json
from collections.abc import Iterator, Mapping, Sequence

from task_server.checks.facts import Context, listed
from task_server.config.pools import DEFAULT
from task_server.config.values import ALL_QUEUES
from task_server.errors import Finding

#: From so many on, ALL_QUEUES is the cure where it takes no queue of another worker.
SEVERAL = 2

#: From so many on, it is the cure even where those of other workers must be left out.
MANY = 5


def queues(context: Context) -> Iterator[Finding]:
    """Find queues that no worker consumes, and names that may be such queues."""
    facts = context.facts
    if facts is None:
        return
    left = {queue: who for queue, who in facts.named.items() if not _taken(context, queue)}
    if left:
        yield _waiting(context, left)
    else:
        named = listed(list(facts.named), 20)
        yield Finding("ok", "queues", f"every queue that Celery knows has a worker: {named}")
    more = [
        one for one in facts.seen if one.queue not in facts.named and not _taken(context, one.queue)
    ]
    called = {one.queue: f"{one.queue} ({one.where})" for one in more if one.certain}
    if called:
        yield Finding(
            "warning",
            "queues of calls",
            f"found in the source, and no worker consumes {_it(called)}, so their tasks never run: "
            f"{listed(list(called.values()))}",
            repair(context, missing(context)),
        )
    rest = [one for one in more if not one.certain]
    if rest:
        maybe = [f"{one.queue} ({one.where})" for one in rest]
        all_of_them = [*missing(context), *(one.queue for one in rest)]
        yield Finding(
            "warning",
            "names of queues",
            f"found in the source or in settings, and no worker consumes {_it(maybe)}: "
            f"{listed(maybe)}",
            f"if tasks are sent there, {repair(context, all_of_them)}",
        )


def missing(context: Context) -> list[str]:
    """Return the queues that certainly exist and that no worker consumes."""
    facts = context.facts
    if facts is None:
        return []
    found = [*facts.named, *(one.queue for one in facts.seen if one.certain)]
    return [queue for queue in dict.fromkeys(found) if not _taken(context, queue)]


def _waiting(context: Context, left: Mapping[str, Sequence[str]]) -> Finding:
    named = [f"{queue} ({listed(list(who), 2)})" for queue, who in left.items()]
    if len(left) == 1:
        ((queue, who),) = left.items()
        return Finding(
            "error",
            f"queue {queue}",
            f"no worker consumes it, so its tasks never run; it is named by {listed(list(who))}",
            repair(context, [queue]),
        )
    return Finding(
        "error",
        "queues",
        f"no worker consumes {len(left)} of them, so their tasks never run: {listed(named)}",
        repair(context, list(left)),
    )


def _it(names: Sequence[str] | Mapping[str, str]) -> str:
    return "it" if len(names) == 1 else f"these {len(names)}"


def _taken(context: Context, queue: str) -> bool:
    return any(context.consumes(name, queue) for name in context.workers)


def repair(context: Context, queues: list[str]) -> str:
    """Return the line to paste so that a worker consumes *queues* too."""
    pools = {name: worker.pool for name, worker in context.workers.items()}
    name = next((name for name, pool in pools.items() if pool == DEFAULT), next(iter(pools), ""))
    if not name:
        return f"define a worker with workers.NAME.queues = {json.dumps(queues)}"
    own = context.workers[name].queues
    return _with_all(context, name, queues) or (
        f"set workers.{name}.queues = {json.dumps([*own, *queues])}"
    )


def _with_all(context: Context, name: str, queues: list[str]) -> str:
    """Return the cure by ALL_QUEUES; empty where a list of the names is the better one."""
    known = context.known_queues()
    worker = context.workers[name]
    covered = [queue for queue in queues if queue in known]
    if len(covered) < SEVERAL or ALL_QUEUES in worker.queues:
        return ""
    setting = f"workers.{name}"
    kept = worker.queues if context.origin_of(f"{setting}.queues") else ()
    rest = [queue for queue in (*kept, *queues) if queue not in known]
    value = json.dumps([ALL_QUEUES, *dict.fromkeys(rest)] if rest else ALL_QUEUES)
    others = [one for one in context.workers if one != name]
    theirs = [queue for queue in known if any(context.consumes(one, queue) for one in others)]
    if not theirs:
        return f"set {setting}.queues = {value}"
    if len(covered) < MANY or any("," in queue for queue in theirs):
        return ""
    arguments = [*worker.extra_args, f"--exclude-queues={','.join(theirs)}"]
    return f"set {setting}.queues = {value} and {setting}.extra_args = {json.dumps(arguments)}"
