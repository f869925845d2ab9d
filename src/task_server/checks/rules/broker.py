"""Broker, result backend and what goes through them."""

from collections.abc import Iterator
from typing import Any

from task_server.checks.connections import REDIS_POOLS
from task_server.checks.facts import Context, ProjectFacts, listed
from task_server.errors import Finding
from task_server.launch.precedence import NUMBERS, pool_of
from task_server.launch.spec import WorkerSpec

#: Schemes of the brokers that task-server's defaults are made for.
REDIS_SCHEMES = ("redis", "rediss", "redis+socket", "sentinel")

#: Names of pickle in `accept_content`: kombu's own and its media type.
PICKLE = {"pickle", "application/x-python-serialize"}


def broker(context: Context) -> Iterator[Finding]:
    """Check that the broker is Redis."""
    url = context.config.broker_url
    if url is None and context.facts is not None:
        url = context.facts.chosen("broker_url")
    if url is None:
        if context.facts is not None:
            yield Finding(
                "error",
                "broker_url",
                "neither task-server nor the project sets a broker, so Celery would connect "
                "to RabbitMQ on this machine",
                "set TASK_SERVER_BROKER_URL, or broker_url in the project",
            )
        return
    # Celery also accepts several: a list, or one string with semicolons.
    first = str(url[0] if isinstance(url, list | tuple) and url else url)
    scheme, colon, _ = first.partition("://")
    scheme = scheme[:40]
    if not colon:
        # Not shown: it may be a password.
        yield Finding(
            "error",
            "broker_url",
            "has no scheme",
            "write redis:// or rediss:// before it",
        )
    elif scheme not in REDIS_SCHEMES:
        yield Finding(
            "error",
            "broker_url",
            f"the broker is {scheme}://, but what task-server adds to workers (leases, recovery "
            "and requeueing of messages) needs Redis",
            "use redis:// or rediss://, or start Celery without task-server",
        )


def eager(context: Context) -> Iterator[Finding]:
    """Reject a project whose tasks run in the process that calls them."""
    facts = context.facts or ProjectFacts()
    if facts.chosen("task_always_eager"):
        yield Finding(
            "error",
            "task_always_eager",
            f"{facts.source_of('task_always_eager')} is on: tasks run in the process that "
            "calls them, and workers get none",
            "remove it outside of tests",
        )


def results(context: Context) -> Iterator[Finding]:
    """Check where results are stored, and that they expire."""
    facts = context.facts or ProjectFacts()
    url = context.config.result_backend or facts.chosen("result_backend")
    if url is None:
        return
    scheme = str(url).partition("://")[0].partition("+")[0]
    if scheme == "rpc":
        yield Finding(
            "warning",
            "result_backend",
            "rpc:// sends each result as a message to the calling process; no other process "
            "can read it, and results of callers that have exited stay in Redis",
            "use a redis:// URL, or no backend if results are never read",
        )
    elif (
        scheme in REDIS_SCHEMES
        and "result_expires" in facts.own
        and not facts.values["result_expires"]
    ):
        yield Finding(
            "warning",
            "result_expires",
            f"{facts.source_of('result_expires')} is {facts.values['result_expires']!r}: results "
            "never expire, so Redis fills up",
            "remove it (the default is a day), or set ignore_result on tasks whose result "
            "is never read",
        )


def pickle(context: Context) -> Iterator[Finding]:
    """Warn of pickle: anyone who can write to the broker can run code as the worker's user."""
    facts = context.facts
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
            "reject every task",
            "add it there, or remove one of the two settings",
        )
    if not accepted & PICKLE:
        return
    # By this name only: Celery's own check misses the media type (5.7).
    if context.root and not context.force_root and "pickle" in accepted:
        yield Finding(
            "error",
            "accept_content",
            f"{facts.source_of('accept_content')} accepts pickle, and the worker runs as root: "
            "Celery refuses to start",
            "remove pickle, or run the worker as another user",
        )
    else:
        yield Finding(
            "warning",
            "accept_content",
            f"{facts.source_of('accept_content')} accepts pickle: anyone who can write to Redis "
            "can run code as the worker's user",
            "restrict access to Redis (a password or an ACL, TLS, a private network); if no task "
            "is called with pickle, remove it",
        )


def _names(accepted: Any) -> set[str]:
    return {str(name) for name in accepted or ()}


#: With fewer connections, greenlets mostly wait for one.
FEW_CONNECTIONS = 8


def connections(context: Context) -> Iterator[Finding]:
    """Check the project's limits on the connections that greenlets share."""
    facts = context.facts
    if facts is None:
        return
    for name in REDIS_POOLS:
        if name not in facts.own:
            continue
        bound = int(facts.values[name] or 0)
        for worker, spec in context.workers.items():
            default = spec.pool_row.shared_redis_pool
            if default is not None and bound < min(FEW_CONNECTIONS, spec.concurrency):
                yield Finding(
                    "warning",
                    name,
                    f"{facts.source_of(name)} is {bound}, so the {spec.concurrency} concurrent "
                    f"tasks of {worker} wait for each other when they end",
                    f"remove it (the default is {default}), or raise it",
                )


def replaced(context: Context) -> Iterator[Finding]:
    """Report which of the project's numbers apply to no worker, or not to all."""
    facts = context.facts or ProjectFacts()
    if "worker_pool" in facts.own:
        yield Finding(
            "info",
            "worker_pool",
            f"{facts.source_of('worker_pool')} has no effect: each worker has its own pool "
            "(workers.NAME.pool), chosen before the project is imported",
        )
    for name, (ours, _) in NUMBERS.items():
        if name not in facts.own:
            continue
        reasons = {
            worker: _instead(context, facts, spec, ours) for worker, spec in context.workers.items()
        }
        ignored_by = [f"{worker} uses {reason}" for worker, reason in reasons.items() if reason]
        if ignored_by:
            message = f"{facts.source_of(name)} does not apply: {'; '.join(ignored_by)}"
            yield Finding("info", name, message)


def _instead(context: Context, facts: ProjectFacts, spec: WorkerSpec, setting: str) -> str:
    """Return what the worker *spec* uses instead of the project's number; empty if it uses that."""
    by = context.origin_of(f"workers.{spec.name}.{setting}")
    value = getattr(spec, setting) or "no limit"
    if by:
        return f"{value}, set by {by}"
    pool = pool_of(facts.values if "worker_pool" in facts.own else {})
    if pool != spec.pool:
        return f"{value}, chosen for its pool, {spec.pool} (the project's is for {pool})"
    return ""
