"""Queues that tasks go to and no worker takes from."""

import json
from collections.abc import Iterator, Mapping, Sequence

from task_server.checks.facts import Case, listed
from task_server.config.values import ALL_QUEUES
from task_server.errors import Finding

#: From so many on, the word for all of them is the shorter cure.
MANY = 5


def queues(case: Case) -> Iterator[Finding]:
    """Find the queues whose tasks would wait for ever, and names that may be such queues."""
    facts = case.facts
    if facts is None:
        return
    left = {queue: who for queue, who in facts.named.items() if not _taken(case, queue)}
    if left:
        yield _waiting(case, left)
    else:
        named = listed(list(facts.named), 20)
        yield Finding("ok", "queues", f"a worker takes from each that Celery knows: {named}")
    more = [
        one for one in facts.seen if one.queue not in facts.named and not _taken(case, one.queue)
    ]
    called = {one.queue: f"{one.queue} ({one.where})" for one in more if one.certain}
    if called:
        yield Finding(
            "warning",
            "queues of calls",
            f"seen in the source, and no worker takes from {_it(called)}, so such tasks wait for "
            f"ever: {listed(list(called.values()))}",
            cure(case, missing(case)),
        )
    rest = [one for one in more if not one.certain]
    if rest:
        maybe = [f"{one.queue} ({one.where})" for one in rest]
        all_of_them = [*missing(case), *(one.queue for one in rest)]
        yield Finding(
            "warning",
            "names of queues",
            f"seen in the source or in settings, and no worker takes from {_it(maybe)}: "
            f"{listed(maybe)}",
            f"if tasks are sent there, {cure(case, all_of_them)}",
        )


def missing(case: Case) -> list[str]:
    """Return the queues that surely are some and that no worker takes from."""
    facts = case.facts
    if facts is None:
        return []
    found = [*facts.named, *(one.queue for one in facts.seen if one.certain)]
    return [queue for queue in dict.fromkeys(found) if not _taken(case, queue)]


def _waiting(case: Case, left: Mapping[str, Sequence[str]]) -> Finding:
    named = [f"{queue} ({listed(list(who), 2)})" for queue, who in left.items()]
    if len(left) == 1:
        ((queue, who),) = left.items()
        return Finding(
            "error",
            f"queue {queue}",
            f"no worker takes from it, so its tasks wait for ever; it is named by "
            f"{listed(list(who))}",
            cure(case, [queue]),
        )
    return Finding(
        "error",
        "queues",
        f"no worker takes from {len(left)} of them, so their tasks wait for ever: {listed(named)}",
        cure(case, list(left)),
    )


def _it(names: Sequence[str] | Mapping[str, str]) -> str:
    return "it" if len(names) == 1 else f"these {len(names)}"


def _taken(case: Case, queue: str) -> bool:
    return any(case.takes(name, queue) for name in case.profiles)


def cure(case: Case, queues: list[str]) -> str:
    """Return the line to paste with which a worker takes from *queues* too."""
    pools = {name: profile.worker.pool for name, profile in case.profiles.items()}
    name = next((name for name, pool in pools.items() if pool == "prefork"), next(iter(pools), ""))
    if not name:
        return f"describe a worker with workers.NAME.queues = {json.dumps(queues)}"
    setting = f"workers.{name}.queues"
    both = [*case.profiles[name].worker.queues, *queues]
    many = len(queues) >= MANY and ALL_QUEUES not in both
    every = f', or {setting} = "{ALL_QUEUES}" for every queue' if many else ""
    return f"write {setting} = {json.dumps(both)}{every}"
