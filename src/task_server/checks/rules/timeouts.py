"""Times that contradict each other: visibility timeout, time limits, ETAs, drain, stop grace."""

from collections.abc import Iterator

from task_server.checks.facts import Context, listed
from task_server.config.model import STOP_MARGIN_SECONDS
from task_server.errors import Finding
from task_server.launch.precedence import visibility_timeout

#: Where Celery reads the visibility timeout; the smallest of the three applies.
PLACES = (
    "visibility_timeout",
    "broker_transport_options.visibility_timeout",
    "result_backend_transport_options.visibility_timeout",
)


def visibility(context: Context) -> Iterator[Finding]:
    """Compare the visibility timeout, in its three places, with time limits and retries."""
    ours = visibility_timeout(context.config)
    if context.workers and all(context.is_atomic(one) for one in context.workers.values()):
        yield _of_atomic(context, ours)
        return
    limit, limited = _longest_limit(context)
    retry, retried = _longest_retry(context)
    bad = False
    for place in PLACES:
        value = ours
        who = "visibility_timeout"
        if (
            context.facts is not None
            and place in context.facts.own
            and not context.origin_of(PLACES[0])
        ):
            value = float(context.facts.values[place])
            who = context.facts.source_of(place)
        elif place != PLACES[0]:
            continue  # the same number as in the first place
        if value <= limit:
            bad = True
            yield Finding(
                "error",
                place,
                f"{who} is {value:g} s, not above the time limit of {limited} ({limit:g} s), so "
                "a task that is still running is delivered to a second worker",
                _raise_it(place, who, 2 * limit),
            )
        elif value <= retry:
            bad = True
            yield Finding(
                "error",
                place,
                f"{who} is {value:g} s, and {retried} retries with a countdown of up to "
                f"{retry:g} s, so it is delivered again and again until then",
                _raise_it(place, who, 2 * retry),
            )
        elif who != "visibility_timeout" and value < ours:
            bad = True
            yield Finding(
                "warning",
                place,
                f"{who} is {value:g} s, below the {ours:g} s of the other places; the smallest "
                "one applies",
                f"remove it from {who.partition(' of ')[2]}, or set visibility_timeout to the same",
            )
    if not bad:
        above = f"above the longest time limit ({limit:g} s); " if limit else ""
        yield Finding(
            "ok",
            "visibility_timeout",
            f"{ours:g} s, {above}a task that runs longer, or has a longer countdown or ETA, is "
            "delivered twice",
        )


def _of_atomic(context: Context, ours: float) -> Finding:
    """Explain the visibility timeout where workers renew leases."""
    place = PLACES[1]
    value, replaced = ours, ""
    if context.facts is not None and place in context.facts.own:
        theirs, who = float(context.facts.values[place]), context.facts.source_of(place)
        by = context.origin_of("visibility_timeout")
        if not by:
            value, replaced = theirs, f"set by {who}: "
        elif theirs != ours:
            replaced = f"set by {by}, instead of the {theirs:g} s of {who}: "
    return Finding(
        "ok",
        "visibility_timeout",
        f"{replaced}{value:g} s; a dead worker's messages are delivered again "
        f"{_leases(context, value)} after it last renewed its lease (lease_seconds), "
        "or after the visibility timeout if it was of version 0.1 or used Kombu's transport; "
        "tasks may run longer than both, and have longer countdowns and ETAs (not with "
        "transport = 'kombu')",
    )


def _leases(context: Context, timeout: float) -> str:
    """Return the length of the workers' leases: the shortest to the longest."""
    all_of_them = {min(one.lease_seconds, timeout) for one in context.workers.values()}
    shortest, longest = min(all_of_them), max(all_of_them)
    return f"{shortest:g} s" if shortest == longest else f"{shortest:g} to {longest:g} s"


def _raise_it(place: str, who: str, seconds: float) -> str:
    if who == place:
        return f"set visibility_timeout to {seconds:g} in task-server.toml"
    return (
        f"raise it to {seconds:g}, or remove it and set visibility_timeout = {seconds:g} in "
        "task-server.toml"
    )


def _longest_limit(context: Context) -> tuple[float, str]:
    """Return the longest hard time limit in seconds (0 for none), and what sets it."""
    limits = [
        (worker.time_limit, f"workers.{name}.time_limit")
        for name, worker in context.workers.items()
    ]
    if context.facts is not None:
        limits.append((float(context.facts.chosen("task_time_limit") or 0), "task_time_limit"))
        limits.extend((float(task.time_limit or 0), task.name) for task in context.facts.tasks)
    return max(limits, default=(0.0, ""))


def _longest_retry(context: Context) -> tuple[float, str]:
    tasks = context.facts.tasks if context.facts is not None else ()
    return max(((task.longest_retry, task.name) for task in tasks), default=(0.0, ""))


def soft_limits(context: Context) -> Iterator[Finding]:
    """Report soft time limits, which a gevent worker can raise only where tasks yield."""
    facts = context.facts
    gevent = [name for name, one in context.workers.items() if not one.pool_row.soft_time_limits]
    if facts is None or not gevent:
        return
    why = "it is raised where the task waits, so late in one that computes or blocks outside gevent"
    repair = "keep it for tasks that wait for the network; run those that compute on prefork"
    everywhere = facts.chosen("task_soft_time_limit")
    if everywhere:
        who = facts.source_of("task_soft_time_limit")
        yield Finding(
            "info",
            "task_soft_time_limit",
            f"{who} is {everywhere:g} s; on {listed(gevent)} {why}",
            repair,
        )
        return
    late = [
        task.name
        for task in facts.tasks
        if task.soft_time_limit is not None
        and any(task.queue is not None and context.consumes(name, task.queue) for name in gevent)
    ]
    if late:
        yield Finding(
            "info",
            "soft_time_limit",
            f"{listed(late)} run on {listed(gevent)}; {why}",
            repair,
        )


def drain(context: Context) -> Iterator[Finding]:
    """Compare the drain with the stop grace, or report how long that must be."""
    for name, worker in context.workers.items():
        seconds = worker.drain_seconds
        setting = f"workers.{name}.drain_seconds"
        needed = seconds + STOP_MARGIN_SECONDS
        give = f"stop_grace_period: {needed:g}s (Docker), TimeoutStopSec={needed:g} (systemd)"
        if context.stop_grace is None:
            yield Finding(
                "info",
                setting,
                f"{seconds:g} s, so a stop may take {needed:g} s; set {give} (Docker's default is "
                "10 s, systemd's 90 s)",
            )
        elif context.stop_grace < seconds:
            yield Finding(
                "error",
                setting,
                f"{seconds:g} s, but the worker is killed after {context.stop_grace:g} s: the "
                "tasks running then are not requeued, and run again only when their lease expires",
                f"set {give}, or lower drain_seconds",
            )
        elif context.stop_grace < needed:
            yield Finding(
                "warning",
                setting,
                f"{seconds:g} s leave {context.stop_grace - seconds:g} s of the stop grace "
                f"({context.stop_grace:g} s) to requeue the rest",
                f"set {give}, or lower drain_seconds",
            )
        else:
            yield Finding(
                "ok", setting, f"{seconds:g} s fit into the stop grace of {context.stop_grace:g} s"
            )
