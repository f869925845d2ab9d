"""Broker, result backend and what goes through them."""

from collections.abc import Iterator
from typing import Any

from task_server.checks.connections import REDIS_POOLS
from task_server.checks.facts import Case, Facts, listed
from task_server.errors import Finding
from task_server.launch.precedence import NUMBERS, pool_of
from task_server.launch.profiles import Profile
from task_server.project.defaults import GREEN_CONNECTIONS

#: Schemes of a broker for which the defaults of task-server are made.
REDIS_SCHEMES = ("redis", "rediss", "redis+socket", "sentinel")

#: Names of pickle in `accept_content`: kombu's own and its media type.
PICKLE = {"pickle", "application/x-python-serialize"}


def broker(case: Case) -> Iterator[Finding]:
    """Tell whether the broker is Redis."""
    url = case.config.broker_url
    if url is None and case.facts is not None:
        url = case.facts.chosen("broker_url")
    if url is None:
        if case.facts is not None:
            yield Finding(
                "error",
                "broker_url",
                "neither task-server nor the project names a broker, so Celery would look for "
                "RabbitMQ on this machine",
                "set TASK_SERVER_BROKER_URL, or broker_url in the project",
            )
        return
    # Celery takes several, too: a list, or one text with semicolons.
    first = str(url[0] if isinstance(url, list | tuple) and url else url)
    scheme, colon, _ = first.partition("://")
    scheme = scheme[:40]
    if not colon:
        # Not shown: it may be a password.
        yield Finding(
            "error",
            "broker_url",
            "it has no scheme, so it names no Redis",
            "write redis:// or rediss:// before it",
        )
    elif scheme not in REDIS_SCHEMES:
        yield Finding(
            "error",
            "broker_url",
            f"the broker is {scheme}://, and what task-server does for its workers (visibility "
            "timeout, restoring and handing back of messages) is made for Redis",
            "use redis:// or rediss://, or start Celery without task-server",
        )


def eager(case: Case) -> Iterator[Finding]:
    """Refuse a project whose tasks run where they are called."""
    facts = case.facts or Facts()
    if facts.chosen("task_always_eager"):
        yield Finding(
            "error",
            "task_always_eager",
            f"{facts.whose('task_always_eager')} is on: a task runs in the process that calls it, "
            "and no worker ever gets one",
            "remove it where workers are to run; it is for tests",
        )


def results(case: Case) -> Iterator[Finding]:
    """Look at where results go, and whether they ever leave."""
    facts = case.facts or Facts()
    url = case.config.result_backend or facts.chosen("result_backend")
    if url is None:
        return
    scheme = str(url).partition("://")[0].partition("+")[0]
    if scheme == "rpc":
        yield Finding(
            "warning",
            "result_backend",
            "rpc:// sends each result as a message to the process that called; no other process "
            "can read it, and results of callers that went away stay in Redis",
            "use the URL of Redis, or no backend if nobody reads results",
        )
    elif (
        scheme in REDIS_SCHEMES
        and "result_expires" in facts.own
        and not facts.values["result_expires"]
    ):
        yield Finding(
            "warning",
            "result_expires",
            f"{facts.whose('result_expires')} is {facts.values['result_expires']!r}: results "
            "never expire, so the memory of Redis fills up",
            "remove it (a day is the default), or set ignore_result on tasks whose result "
            "nobody reads",
        )


def pickle(case: Case) -> Iterator[Finding]:
    """Look for pickle: whoever reaches the broker runs code as the worker's user."""
    facts = case.facts
    if facts is None:
        return
    accepted = _names(facts.values.get("accept_content"))
    serializer = str(facts.values.get("task_serializer") or "json")
    if (
        accepted
        and serializer not in accepted
        and not (serializer == "pickle" and accepted & PICKLE)
    ):
        yield Finding(
            "error",
            "task_serializer",
            f"{serializer!r} is not in accept_content ({listed(sorted(accepted))}), so workers "
            "refuse every task",
            "add it there, or remove one of the two",
        )
    if not accepted & PICKLE:
        return
    # By this name only: Celery's own test misses the media type (5.7).
    if case.root and not case.force_root and "pickle" in accepted:
        yield Finding(
            "error",
            "accept_content",
            f"{facts.whose('accept_content')} accepts pickle, and the worker runs as root: Celery "
            "refuses to start",
            "remove pickle, or run the worker as another user",
        )
    else:
        yield Finding(
            "warning",
            "accept_content",
            f"{facts.whose('accept_content')} accepts pickle: whoever can write to Redis runs code "
            "as the user of the worker",
            "let nobody else reach Redis (a password or an ACL, TLS, a network of its own); where "
            "no task is called with pickle, remove it",
        )


def _names(accepted: Any) -> set[str]:
    return {str(name) for name in accepted or ()}


#: With fewer connections, greenlets spend their time waiting for one.
FEW_CONNECTIONS = 8


def connections(case: Case) -> Iterator[Finding]:
    """Look at the project's bounds on the connections that greenlets share."""
    facts = case.facts
    if facts is None:
        return
    for name in REDIS_POOLS:
        if name not in facts.own:
            continue
        bound = int(facts.values[name] or 0)
        for worker, profile in case.profiles.items():
            if profile.worker.pool == "gevent" and bound < min(
                FEW_CONNECTIONS, profile.concurrency
            ):
                yield Finding(
                    "warning",
                    name,
                    f"{facts.whose(name)} is {bound}, so that the {profile.concurrency} tasks at "
                    f"once of {worker} wait for each other when they end",
                    f"remove it ({GREEN_CONNECTIONS} is the default), or raise it",
                )


def replaced(case: Case) -> Iterator[Finding]:
    """Tell which of the project's numbers count for no worker, or not for all of them."""
    facts = case.facts or Facts()
    if "worker_pool" in facts.own:
        yield Finding(
            "info",
            "worker_pool",
            f"{facts.whose('worker_pool')} has no effect: each worker has its own pool "
            "(workers.NAME.pool), which is known before the project is imported",
        )
    for name, (ours, _) in NUMBERS.items():
        if name not in facts.own:
            continue
        reasons = {
            worker: _instead(case, facts, worker, profile, ours)
            for worker, profile in case.profiles.items()
        }
        told = [f"{worker} has {reason}" for worker, reason in reasons.items() if reason]
        if told:
            yield Finding("info", name, f"{facts.whose(name)} does not count for {'; '.join(told)}")


def _instead(case: Case, facts: Facts, name: str, profile: Profile, setting: str) -> str:
    """Return what counts for the worker *name* instead of the project's number; empty if that."""
    by = case.said(f"workers.{name}.{setting}")
    value = getattr(profile, setting)
    if by:
        return f"{value} by {by}"
    pool = pool_of(facts.values if "worker_pool" in facts.own else {})
    if pool != profile.worker.pool:
        return f"{value} by its pool, {profile.worker.pool} (the project's is for {pool})"
    return ""
