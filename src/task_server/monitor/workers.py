"""The workers: what each said of itself, and the messages that it has."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, get_args

from redis.exceptions import ResponseError

from task_server.monitor.model import State, StoppedChild, Worker
from task_server.transport.store import workers
from task_server.transport.store.in_flight import InFlight
from task_server.transport.store.keys import Keys
from task_server.transport.store.stops import Stop
from task_server.transport.store.workers import Registered

#: A worker is silent when it has missed so many of its registrations.
MISSED: Final = 3

#: A worker that renews a lease after it has missed so many lives, and its loop does not turn.
BLOCKED: Final = 2

#: Seconds between two of them, if a worker does not say.
INTERVAL: Final = 5.0

#: No time, number or id of a worker is larger: anyone can write one.
LARGE: Final = 1e15

#: What remote control calls the queue of a node.
PIDBOX: Final = ".celery.pidbox"


def read(
    client: Any,
    keys: Keys,
    messages: Iterable[InFlight],
    now: float,
    drained: Mapping[str, Stop] = MappingProxyType({}),
) -> tuple[Worker, ...]:
    """Return the workers, with *messages* in flight, and who has *drained* their nodes."""
    owned = _by_run(messages)
    registered = sorted(workers.all_of(client, keys), key=lambda one: one.at)
    latest = {_text(one.values, "node"): one.run for one in registered}
    found = []
    for one in registered:
        worker = _registered(one, owned.pop(one.run, []), now)
        # The same node came back, and nothing is left of this process.
        is_past = worker.state == "silent" and latest[worker.node] != one.run
        if worker.in_flight or not is_past:
            found.append(worker)
    found += [_unregistered(mine) for mine in owned.values()]
    known = {worker.node for worker in found}
    found += [Worker(node=node, started={}) for node in _remote(client, keys) if node not in known]
    found = [replace(one, drained=drained.get(one.node)) for one in found]
    return tuple(sorted(found, key=lambda worker: worker.node))


def _by_run(messages: Iterable[InFlight]) -> dict[str, list[InFlight]]:
    """Return the messages of each process; of one without a run, of its node and pid."""
    found: defaultdict[str, list[InFlight]] = defaultdict(list)
    for one in messages:
        if one.node:
            found[one.run or f"{one.node} {one.pid}"].append(one)
    return dict(found)


def _registered(one: Registered, messages: list[InFlight], now: float) -> Worker:
    values = one.values
    interval = _number(values, "interval") or INTERVAL
    state: State = values["state"] if values.get("state") in get_args(State) else "ready"
    since = one.at - (_number(values, "state_for") or 0.0)
    if now - one.at > MISSED * interval:
        state, since = "silent", one.at
    missed = one.at + BLOCKED * interval
    names = values.get("queues")
    return Worker(
        node=_text(values, "node"),
        run=one.run,
        host=_text(values, "host"),
        machine=_text(values, "machine"),
        pid=_whole(values, "pid"),
        pool=_text(values, "pool"),
        version=_text(values, "version"),
        state=state,
        since=since,
        seen=one.at,
        concurrency=_whole(values, "concurrency"),
        active=_whole(values, "active"),
        processed=_whole(values, "processed"),
        queues=tuple(map(str, names)) if isinstance(names, list) else (),
        in_flight=_sorted(messages),
        started=_started(values.get("running"), one.at),
        limits=_numbers(values.get("limits")),
        pids={tag: int(pid) for tag, pid in _numbers(values.get("pids")).items()},
        stopped=_stopped(values.get("stopped"), one.at),
        unready=_text(values, "unready"),
        renews=state == "silent" and any(_renewed(each, missed, now) for each in messages),
        ended={name: int(one) for name, one in _numbers(values.get("ended")).items()},
        obeys=values.get("stops") is True,
    )


def _renewed(message: InFlight, missed: float, now: float) -> bool:
    """Whether the lease of *message* was renewed after the time *missed*, and has not ended."""
    return (message.renewed_at or 0.0) > missed and (message.lease_until or 0.0) > now


def _unregistered(messages: list[InFlight]) -> Worker:
    """Return the worker that has *messages*, and did not register or is forgotten."""
    one = messages[0]
    seen = max((each.renewed_at for each in messages if each.renewed_at), default=None)
    return Worker(
        node=one.node,
        run=one.run,
        host=one.node.partition("@")[2],
        pid=one.pid,
        seen=seen,
        in_flight=_sorted(messages),
        started={},
    )


def _remote(client: Any, keys: Keys) -> Iterator[str]:
    """Return the nodes that remote control reaches: of our workers, and of stock ones."""
    try:
        members = client.smembers(keys.binding_of("celery.pidbox"))
    except ResponseError:
        return
    for member in members:
        queue = member.rpartition(b"\x06\x16")[2].decode("utf-8", "replace")
        if queue.endswith(PIDBOX):
            yield queue.removesuffix(PIDBOX)


def _sorted(messages: list[InFlight]) -> tuple[InFlight, ...]:
    return tuple(sorted(messages, key=lambda one: one.fetched_at or 0.0))


def _started(running: Any, at: float) -> dict[str, float]:
    """Return when tasks started, by tag, of [tag, seconds that it ran at that moment] each."""
    found = {}
    for one in running if isinstance(running, list) else ():
        match one:
            case [str(tag), int() | float() as seconds]:
                found[tag] = at - seconds
    return found


def _stopped(children: Any, at: float) -> tuple[StoppedChild, ...]:
    """Return stopped children, of [pid, seconds that it was so at that moment, tag] each."""
    found = []
    for one in children if isinstance(children, list) else ():
        match one:
            case [int(pid), int() | float() as seconds, str(tag)] if abs(seconds) < LARGE:
                found.append(StoppedChild(pid=pid, since=at - seconds, tag=tag))
    return tuple(found)


def _numbers(values: Any) -> dict[str, float]:
    """Return the numbers of a mapping."""
    values = values if isinstance(values, dict) else {}
    found = {name: _number(values, name) for name in values}
    return {name: number for name, number in found.items() if number is not None}


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) and abs(value) < LARGE else None


def _whole(values: Mapping[str, Any], name: str) -> int | None:
    value = _number(values, name)
    return None if value is None else int(value)
