"""
The Celery settings that a worker starts with where the project gives none.

Pure: `task_server.app` applies them, `task-server config show` prints them.
A dotted name is one key of a dictionary, so that a project that sets another
key of it keeps this one.
"""

from dataclasses import dataclass
from typing import Any

from task_server.decision import Decision

#: What the URL of a Unix socket begins with.
SOCKET_SCHEMES = ("socket:", "redis+socket:", "unix:")

#: Connections that the greenlets of a worker share to acknowledge, and again to store results.
GREEN_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Default:
    """One Celery setting, its value, and the reason for it."""

    name: str
    value: Any
    reason: str


def connection_defaults(result_backend: str | None) -> tuple[Default, ...]:
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
            "after a long outage a worker comes back by itself; the default gives up after 100",
        ),
        Default(
            "broker_transport_options.socket_keepalive",
            True,
            "a connection whose other end vanished is noticed by the kernel",
        ),
        Default(
            "broker_transport_options.health_check_interval",
            25,
            "a connection that is silent is asked whether it still works",
        ),
        Default(
            "broker_transport_options.socket_timeout",
            20,
            "a Redis that accepts and never answers would stop the worker's loop for ever",
        ),
        Default(
            "broker_transport_options.socket_connect_timeout",
            10,
            "a host that drops packets is given up sooner than the kernel does (130 s)",
        ),
        Default(
            "redis_backend_health_check_interval",
            25,
            "the same for the connections of the result backend",
        ),
    ]
    # redis-py refuses the option for a Unix socket, and then no result is stored.
    if not (result_backend or "").startswith(SOCKET_SCHEMES):
        defaults.append(
            Default("redis_socket_keepalive", True, "the same as for the connections of the broker")
        )
    return tuple(defaults)


def worker_defaults(decision: Decision, result_backend: str | None) -> tuple[Default, ...]:
    """
    Return the defaults of the worker that *decision* describes, its connections included.

    Args:
        result_backend: URL of the project's result backend, if it has one.
    """
    worker = decision.worker
    late = worker.delivery == "at-least-once"
    timeout = decision.visibility_timeout
    together = "three clients read it, and the smallest value counts"
    defaults = [
        *connection_defaults(result_backend),
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
            10,
            "look every 10 s for messages whose time is over",
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
    ]
    if worker.transport == "atomic":
        defaults.append(
            Default(
                "broker_transport_options.poison_limit",
                worker.poison_limit,
                "a task that kills its worker is not run for ever",
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
    if worker.pool == "gevent":
        defaults.append(
            Default(
                "result_backend_thread_safe",
                True,
                "else each greenlet, so each task, makes a result backend of its own",
            )
        )
        defaults.append(
            Default(
                "redis_max_connections",
                GREEN_CONNECTIONS,
                "the same for results",
            )
        )
    return tuple(defaults)


def _connections(concurrency: Any) -> int:
    """Every running task may acknowledge at once; the rest is the worker's own."""
    return int(concurrency or 0) + 16
