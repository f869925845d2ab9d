"""
The Celery settings that a worker starts with where the project gives none.

Pure: `task_server.app` applies them, `task-server config show` prints them.
A dotted name is one key of a dictionary, so that a project that sets another
key of it keeps this one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from task_server.config.model import WorkerConfig
from task_server.launch.spec import Decision
from task_server.launch.timing import Timing

#: What the URL of a Unix socket begins with.
SOCKET_SCHEMES = ("socket:", "redis+socket:", "unix:")

#: Connections that the greenlets of a worker share to acknowledge, and again to store results.
GREEN_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Default:
    """
    One Celery setting, its value, and the reason for it.

    Attributes:
        by: Who of the operator's gave it (a file, a variable): it then wins over
            the project's own setting. Empty for a default of ours, which does not.
    """

    name: str
    value: Any
    reason: str
    by: str = ""


#: The setting of ours that governs each Celery setting; what the operator says of it
#: is in force, whatever the project sets.
GOVERNED = {
    "task_acks_late": "delivery",
    "task_reject_on_worker_lost": "delivery",
    "task_time_limit": "time_limit",
    "task_soft_time_limit": "soft_time_limit",
    "visibility_timeout": "visibility_timeout",
    "broker_transport_options.visibility_timeout": "visibility_timeout",
    "result_backend_transport_options.visibility_timeout": "visibility_timeout",
    "broker_transport_options.poison_limit": "poison_limit",
    "broker_transport_options.lease_seconds": "lease_seconds",
    "worker_send_task_events": "events",
    "worker_concurrency": "concurrency",
    "worker_prefetch_multiplier": "prefetch_multiplier",
    "worker_max_memory_per_child": "max_memory_per_child",
}


def connection_defaults(
    result_backend: str | None, timing: Timing | None = None
) -> tuple[Default, ...]:
    """Return the defaults of everything that talks to Redis, Flower included."""
    timing = timing or Timing()
    defaults = [
        Default(
            "broker_connection_retry_on_startup",
            True,
            "a worker that starts before Redis waits for it",
        ),
        Default(
            "broker_connection_max_retries",
            None,
            "after a long outage a worker comes back by itself; the default gives up after 100",
        ),
        Default(
            "broker_transport_options.socket_keepalive",
            True,
            "a connection whose other end vanished is noticed by the kernel",
        ),
        Default(
            "broker_transport_options.health_check_interval",
            timing.health_check,
            "a connection that is silent is asked whether it still works",
        ),
        Default(
            "broker_transport_options.socket_timeout",
            timing.socket_timeout,
            "a Redis that accepts and never answers would stop the worker's loop for ever",
        ),
        Default(
            "broker_transport_options.socket_connect_timeout",
            timing.connect_timeout,
            "a host that drops packets is given up sooner than the kernel does (130 s)",
        ),
        Default(
            "redis_backend_health_check_interval",
            timing.health_check,
            "the same for the connections of the result backend",
        ),
    ]
    # redis-py refuses the option for a Unix socket, and then no result is stored.
    if not (result_backend or "").startswith(SOCKET_SCHEMES):
        defaults.append(
            Default("redis_socket_keepalive", True, "the same as for the connections of the broker")
        )
    return tuple(defaults)


def worker_defaults(
    decision: Decision, result_backend: str | None, *, shared: bool = True
) -> tuple[Default, ...]:
    """
    Return the defaults of the worker that *decision* describes, its connections included.

    Args:
        result_backend: URL of the project's result backend, if it has one.

        shared: Whether greenlets may share it (`task_server.project.celery_app.shares_results`).
    """
    worker = decision.worker
    late = worker.delivery == "at-least-once"
    timeout = decision.visibility_timeout
    together = "what a lost worker had returns to its queue after this; three clients read it"
    defaults = [
        *connection_defaults(result_backend, decision.timing),
        Default("task_acks_late", late, f"delivery is {worker.delivery}"),
        Default(
            "task_reject_on_worker_lost",
            late,
            "a task whose process was killed goes back to its queue"
            if late
            else "delivery is at-most-once",
        ),
        Default("visibility_timeout", timeout, together),
        Default("broker_transport_options.visibility_timeout", timeout, together),
        Default("result_backend_transport_options.visibility_timeout", timeout, together),
        Default(
            "broker_transport_options.unacked_restore_interval",
            decision.timing.restore_interval,
            "how often messages of lost workers are searched for",
        ),
        Default(
            "broker_transport_options.unacked_restore_throttle",
            1,
            "at each look, not at each tenth",
        ),
        Default(
            "broker_transport_options.max_connections",
            GREEN_CONNECTIONS if worker.pool == "gevent" else _connections(worker.concurrency),
            "acknowledgements of tasks that end together: greenlets wait for their turn"
            if worker.pool == "gevent"
            else "with the transport's 10, acknowledgements of concurrent tasks fail and are lost",
        ),
        Default(
            "worker_send_task_events",
            worker.events,
            "events nobody reads cost a third of the time; Flower switches them on",
        ),
        Default("worker_hijack_root_logger", False, "the project's own LOGGING keeps its handlers"),
        Default(
            "worker_proc_alive_timeout",
            60.0,
            "a busy machine forks slowly; after the default 4 s the child is killed",
        ),
        *_numbers(worker),
    ]
    if worker.transport == "atomic":
        defaults.append(
            Default(
                "broker_transport_options.poison_limit",
                worker.poison_limit,
                "a task that kills its worker is not run for ever",
            )
        )
        defaults.append(
            Default(
                "broker_transport_options.lease_seconds",
                worker.lease_seconds,
                "what a killed worker had is delivered again so long after its last sign of life",
            )
        )
    if worker.transport == "atomic" and not late:
        defaults.append(
            Default(
                "broker_transport_options.ack_batching",
                False,
                "an early acknowledgement that waits for company would let a killed task run again",
            )
        )
    if worker.pool == "gevent" and shared:
        defaults.append(
            Default(
                "result_backend_thread_safe",
                True,
                "else each greenlet, so each task, makes a result backend of its own",
            )
        )
    if worker.pool == "gevent":
        defaults.append(
            Default(
                "redis_max_connections",
                GREEN_CONNECTIONS,
                "the same for results",
            )
        )
    return tuple(
        replace(one, by=decision.said.get(GOVERNED.get(one.name, ""), "")) for one in defaults
    )


def _numbers(worker: WorkerConfig) -> Iterator[Default]:
    """Return what arguments of `celery worker` would say, which win over the project's settings."""
    green = worker.pool == "gevent"
    if worker.concurrency is not None:
        reason = "greenlets, which mostly wait" if green else "the processors that it may use"
        yield Default("worker_concurrency", worker.concurrency, reason)
    if worker.prefetch_multiplier is not None:
        yield Default(
            "worker_prefetch_multiplier",
            worker.prefetch_multiplier,
            "with 1 and late acknowledgement this pool stalls"
            if green
            else "a message that is reserved for a busy child waits although another is free",
        )
    if worker.max_memory_per_child is not None:
        yield Default(
            "worker_max_memory_per_child",
            worker.max_memory_per_child // 1024,
            "in KiB: a child's share of the limit; it is replaced before the kernel kills it",
        )
    # Not only arguments: to a task, `task_time_limit` counts more than those.
    if worker.time_limit is not None:
        yield Default("task_time_limit", worker.time_limit, "a task is ended after this")
    if worker.soft_time_limit is not None:
        yield Default(
            "task_soft_time_limit", worker.soft_time_limit, "a task is told to stop after this"
        )


def _connections(concurrency: Any) -> int:
    """Every running task may acknowledge at once; the rest is the worker's own."""
    return int(concurrency or 0) + 16
