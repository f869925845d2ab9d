"""
The Celery settings that a worker starts with where the project gives none.

Pure: `task_server.app` applies them, `task-server config show` prints them.
A dotted name is one key of a dictionary, so that a project that sets another
key of it keeps this one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from task_server.launch.spec import WorkerSpec
from task_server.launch.timing import DEFAULT_TIMING, Timing

#: What the URL of a Unix socket begins with.
SOCKET_SCHEMES = ("socket:", "redis+socket:", "unix:")


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
    "broker_transport_options.prefetch_bytes": "prefetch_bytes",
    "broker_transport_options.delay_seconds": "delay_seconds",
    "worker_send_task_events": "events",
    "worker_concurrency": "concurrency",
    "worker_prefetch_multiplier": "prefetch_multiplier",
    "worker_max_memory_per_child": "max_memory_per_child",
    "worker_max_tasks_per_child": "max_tasks_per_child",
}


def connection_defaults(
    result_backend: str | None, timing: Timing = DEFAULT_TIMING
) -> tuple[Default, ...]:
    """Return the defaults of everything that talks to Redis, Flower included."""
    defaults = [
        Default(
            "broker_connection_retry_on_startup",
            True,
            "a worker that starts before Redis waits for it",
        ),
        Default(
            "broker_connection_max_retries",
            None,
            "a worker reconnects after any outage; the default gives up after 100 attempts",
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
            "a Redis that accepts and never answers would block the worker's loop",
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
    spec: WorkerSpec, result_backend: str | None, *, shared: bool = True
) -> tuple[Default, ...]:
    """
    Return the defaults of the worker *spec*, its connections included.

    Args:
        result_backend: URL of the project's result backend, if it has one.

        shared: Whether greenlets may share it (`task_server.project.celery_app.shares_results`).
    """
    pool = spec.pool_row
    late = spec.delivery == "at-least-once"
    timeout = spec.visibility_timeout
    together = "what a lost worker had returns to its queue after this; three clients read it"
    defaults = [
        *connection_defaults(result_backend, spec.timing),
        Default("task_acks_late", late, f"delivery is {spec.delivery}"),
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
            spec.timing.restore_interval,
            "how often messages of lost workers are searched for",
        ),
        Default(
            "broker_transport_options.unacked_restore_throttle",
            1,
            "at each search, not at each tenth",
        ),
        Default(
            "broker_transport_options.max_connections",
            pool.shared_redis_pool or _connections(spec.concurrency),
            "acknowledgements of tasks that end together: greenlets wait for their turn"
            if pool.shared_redis_pool
            else "with the transport's 10, acknowledgements of concurrent tasks fail and are lost",
        ),
        Default(
            "worker_send_task_events",
            spec.events,
            "events without a reader cost a third of the time; Flower enables them",
        ),
        Default("worker_hijack_root_logger", False, "the project's own LOGGING keeps its handlers"),
        Default(
            "worker_proc_alive_timeout",
            60.0,
            "a busy machine forks slowly; after the default 4 s the child is killed",
        ),
        *_numbers(spec),
    ]
    if spec.transport == "atomic":
        defaults.append(
            Default(
                "broker_transport_options.poison_limit",
                spec.poison_limit,
                "a task that crashes its workers is not run again and again",
            )
        )
        defaults.append(
            Default(
                "broker_transport_options.lease_seconds",
                spec.lease_seconds,
                "messages of a killed worker are redelivered this long after its last renewal",
            )
        )
        defaults.append(
            Default(
                "broker_transport_options.prefetch_bytes",
                spec.prefetch_bytes,
                "2,048 messages of 5 MB, that many as 512 greenlets reserve, are 10 GB of memory"
                if spec.prefetch_bytes
                else "messages are bounded by their number alone, as in Celery",
            )
        )
        defaults.append(
            Default(
                "broker_transport_options.delay_seconds",
                spec.delay_seconds,
                "a task that is due later waits in Redis, not in the memory of a worker"
                if spec.delay_seconds
                else "a task that is due later waits in the memory of a worker, as in Celery",
            )
        )
    if spec.transport == "atomic" and not late:
        defaults.append(
            Default(
                "broker_transport_options.ack_batching",
                False,
                "an early acknowledgement that is batched would let a killed task run again",
            )
        )
    if pool.shared_redis_pool is not None and shared:
        defaults.append(
            Default(
                "result_backend_thread_safe",
                True,
                "otherwise each greenlet, so each task, creates its own result backend",
            )
        )
    if pool.shared_redis_pool is not None:
        defaults.append(
            Default(
                "redis_max_connections",
                pool.shared_redis_pool,
                "the same for results",
            )
        )
    return tuple(
        replace(one, by=spec.origins.get(GOVERNED.get(one.name, ""), "")) for one in defaults
    )


def _numbers(spec: WorkerSpec) -> Iterator[Default]:
    """Return what arguments of `celery worker` would say, which win over the project's settings."""
    green = spec.pool_row.green
    reason = "greenlets, which mostly wait" if green else "the processors that it may use"
    yield Default("worker_concurrency", spec.concurrency, reason)
    yield Default(
        "worker_prefetch_multiplier",
        spec.prefetch_multiplier,
        "with 1 and late acknowledgement this pool stalls"
        if green
        else "a message that is reserved for a busy child waits although another is free",
    )
    if spec.max_memory_per_child:
        yield Default(
            "worker_max_memory_per_child",
            spec.max_memory_per_child // 1024,
            "in KiB: a child's share of the limit; it is replaced before the kernel kills it",
        )
    if spec.max_tasks_per_child:
        yield Default(
            "worker_max_tasks_per_child",
            spec.max_tasks_per_child,
            "a child is replaced after so many tasks",
        )
    # Not only arguments: to a task, `task_time_limit` counts more than those.
    if spec.time_limit:
        yield Default("task_time_limit", spec.time_limit, "a task is ended after this")
    if spec.soft_time_limit:
        yield Default(
            "task_soft_time_limit",
            spec.soft_time_limit,
            "SoftTimeLimitExceeded is raised after this",
        )


def _connections(concurrency: int) -> int:
    """Every running task may acknowledge at once; the rest is the worker's own."""
    return concurrency + 16
