"""Times that contradict each other: visibility timeout, time limits, ETAs, drain, stop grace."""

from collections.abc import Iterator

from task_server.checks.facts import Case, listed
from task_server.errors import Finding
from task_server.launch.command import visibility_timeout
from task_server.local.system import AFTER_DRAIN_SECONDS

#: Where the visibility timeout is read; the smallest of the three counts.
PLACES = (
    "visibility_timeout",
    "broker_transport_options.visibility_timeout",
    "result_backend_transport_options.visibility_timeout",
)


def visibility(case: Case) -> Iterator[Finding]:
    """Compare the visibility timeout, in its three places, with time limits and retries."""
    ours = visibility_timeout(case.config)
    if case.profiles and all(case.is_atomic(one.worker) for one in case.profiles.values()):
        yield _of_atomic(case, ours)
        return
    limit, limited = _longest_limit(case)
    retry, retried = _longest_retry(case)
    bad = False
    for place in PLACES:
        value = ours
        who = "visibility_timeout"
        if case.facts is not None and place in case.facts.own and not case.said(PLACES[0]):
            value = float(case.facts.values[place])
            who = case.facts.whose(place)
        elif place != PLACES[0]:
            continue  # the same number as in the first place
        if value <= limit:
            bad = True
            yield Finding(
                "error",
                place,
                f"{who} is {value:g} s, not above the time limit of {limited} ({limit:g} s), so "
                "that a task which still runs is given to a second worker",
                _raise_it(place, who, 2 * limit),
            )
        elif value <= retry:
            bad = True
            yield Finding(
                "error",
                place,
                f"{who} is {value:g} s, and {retried} retries with a countdown of up to "
                f"{retry:g} s, so that it would be delivered again and again until then",
                _raise_it(place, who, 2 * retry),
            )
        elif who != "visibility_timeout" and value < ours:
            bad = True
            yield Finding(
                "warning",
                place,
                f"{who} is {value:g} s, below the {ours:g} s of the other places; the smallest "
                "one counts",
                f"remove it from {who.partition(' of ')[2]}, or set visibility_timeout to the same",
            )
    if not bad:
        above = f"above the longest time limit ({limit:g} s); " if limit else ""
        yield Finding(
            "ok",
            "visibility_timeout",
            f"{ours:g} s, {above}a task that runs longer, and a countdown or ETA beyond it, is "
            "delivered twice",
        )


def _of_atomic(case: Case, ours: float) -> Finding:
    """Tell what the visibility timeout means where workers give signs of life."""
    place = PLACES[1]
    value, replaced = ours, ""
    if case.facts is not None and place in case.facts.own:
        theirs, who = float(case.facts.values[place]), case.facts.whose(place)
        by = case.said("visibility_timeout")
        if not by:
            value, replaced = theirs, f"as {who} has it: "
        elif theirs != ours:
            replaced = f"as {by} has it, instead of the {theirs:g} s of {who}: "
    return Finding(
        "ok",
        "visibility_timeout",
        f"{replaced}{value:g} s; what a worker had is delivered again {_leases(case, value)} after "
        "its last sign of life (lease_seconds), by the visibility timeout if it is of version "
        "0.1 or has Kombu's transport; tasks may run longer, and countdowns and ETAs lie beyond "
        "both (with transport = 'stock' they may not)",
    )


def _leases(case: Case, timeout: float) -> str:
    """Return how long the leases of the workers are: the shortest, and the longest."""
    all_of_them = {min(one.worker.lease_seconds, timeout) for one in case.profiles.values()}
    shortest, longest = min(all_of_them), max(all_of_them)
    return f"{shortest:g} s" if shortest == longest else f"{shortest:g} to {longest:g} s"


def _raise_it(place: str, who: str, seconds: float) -> str:
    if who == place:
        return f"set visibility_timeout to {seconds:g} in task-server.toml"
    return (
        f"raise it to {seconds:g}, or remove it and set visibility_timeout = {seconds:g} in "
        "task-server.toml"
    )


def _longest_limit(case: Case) -> tuple[float, str]:
    """Return the longest hard time limit in seconds (0 for none), and what has it."""
    limits = [
        (profile.worker.time_limit or 0.0, f"workers.{name}.time_limit")
        for name, profile in case.profiles.items()
    ]
    if case.facts is not None:
        limits.append((float(case.facts.chosen("task_time_limit") or 0), "task_time_limit"))
        limits.extend((float(task.time_limit or 0), task.name) for task in case.facts.tasks)
    return max(limits, default=(0.0, ""))


def _longest_retry(case: Case) -> tuple[float, str]:
    tasks = case.facts.tasks if case.facts is not None else ()
    return max(((task.longest_retry, task.name) for task in tasks), default=(0.0, ""))


def soft_limits(case: Case) -> Iterator[Finding]:
    """Name the soft time limits that a gevent worker keeps only where tasks yield."""
    facts = case.facts
    gevent = [name for name, one in case.profiles.items() if one.worker.pool == "gevent"]
    if facts is None or not gevent:
        return
    why = (
        "it comes where the task waits: one that computes, or blocks outside gevent, meets it late"
    )
    repair = "nothing, for tasks that wait for the network; those that compute: a prefork worker"
    everywhere = facts.chosen("task_soft_time_limit")
    if everywhere:
        yield Finding(
            "info",
            "task_soft_time_limit",
            f"{facts.whose('task_soft_time_limit')} is {everywhere:g} s; on {listed(gevent)} {why}",
            repair,
        )
        return
    late = [
        task.name
        for task in facts.tasks
        if task.soft_time_limit is not None
        and any(task.queue is not None and case.takes(name, task.queue) for name in gevent)
    ]
    if late:
        yield Finding(
            "info",
            "soft_time_limit",
            f"{listed(late)} would go to {listed(gevent)}; {why}",
            repair,
        )


def drain(case: Case) -> Iterator[Finding]:
    """Compare the drain with the time a stop may take, or tell how long that must be."""
    for name, profile in case.profiles.items():
        seconds = profile.worker.drain_seconds
        setting = f"workers.{name}.drain_seconds"
        needed = seconds + AFTER_DRAIN_SECONDS
        give = f"stop_grace_period: {needed:g}s (Docker), TimeoutStopSec={needed:g} (systemd)"
        if case.stop_grace is None:
            yield Finding(
                "info",
                setting,
                f"{seconds:g} s, so a stop may take {needed:g} s; set {give} (Docker's default is "
                "10 s, systemd's 90 s)",
            )
        elif case.stop_grace < seconds:
            yield Finding(
                "error",
                setting,
                f"{seconds:g} s, but the worker is killed after {case.stop_grace:g} s: the tasks "
                "that run then start anew when the visibility timeout is over",
                f"set {give}, or lower drain_seconds",
            )
        elif case.stop_grace < needed:
            yield Finding(
                "warning",
                setting,
                f"{seconds:g} s leave {case.stop_grace - seconds:g} s of the stop grace "
                f"({case.stop_grace:g} s) to hand the rest back",
                f"set {give}, or lower drain_seconds",
            )
        else:
            yield Finding(
                "ok", setting, f"{seconds:g} s fit into the stop grace of {case.stop_grace:g} s"
            )
