"""
Every metric: its name, its kind, its labels and what it is.

Those that begin with `celery_` have the names and meanings of celery-exporter
(danihodovic/celery-exporter 1.x), whose dashboards and alerts so go on working; `node`,
which tells two workers of one host apart, is the only label more. What means something
else, or what it does not have, begins with `task_server_`. Two of its names are missing, see
`NOT_SERVED`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric.

    Attributes:
        name: As Prometheus has it; a counter's ends in `_total`.

        doc: What it is; one sentence.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    doc: str


QUEUE = ("queue_name",)
TASK = ("name", "hostname", "queue_name")
WORKER = ("hostname", "node")

_EVERY = (
    Metric(
        "task_server_up",
        "gauge",
        (),
        "1 if Redis was read for this scrape, else 0; then nothing of queues and workers is shown.",
    ),
    Metric(
        "task_server_snapshot_seconds",
        "gauge",
        (),
        "How long it took to read Redis.",
    ),
    Metric(
        "task_server_unread",
        "gauge",
        ("what",),
        "1 for each part of Redis that could not be read in full.",
    ),
    Metric("celery_queue_length", "gauge", QUEUE, "Messages that wait in the queue."),
    Metric(
        "celery_active_consumer_count",
        "gauge",
        QUEUE,
        "Workers of task-server that take from the queue, without those that drain; Redis does "
        "not tell of others.",
    ),
    Metric("celery_active_worker_count", "gauge", QUEUE, "The same."),
    Metric(
        "celery_active_process_count",
        "gauge",
        QUEUE,
        "Places of those workers: processes of prefork, greenlets of gevent.",
    ),
    Metric(
        "task_server_queue_in_flight",
        "gauge",
        QUEUE,
        "Messages of the queue that a worker has: they run, or wait in it.",
    ),
    Metric("task_server_queue_delayed", "gauge", QUEUE, "Tasks of the queue that are due later."),
    Metric(
        "task_server_queue_due_soon",
        "gauge",
        QUEUE,
        "Those of them that are due within a minute.",
    ),
    Metric(
        "task_server_queue_load",
        "gauge",
        QUEUE,
        "Waiting, in flight and due within a minute: what an autoscaler goes by. Of a paused queue "
        "what is in flight.",
    ),
    Metric("task_server_queue_dead_letters", "gauge", QUEUE, "Dead letters of the queue."),
    Metric(
        "task_server_queue_unreadable_messages",
        "gauge",
        QUEUE,
        "Messages of the queue that cannot be delivered.",
    ),
    Metric(
        "task_server_queue_oldest_seconds",
        "gauge",
        QUEUE,
        "How long the oldest message has waited; 0 if none waits.",
    ),
    Metric(
        "task_server_queue_oldest_is_exact",
        "gauge",
        QUEUE,
        "0 if it may have waited for longer: the message does not say when it was sent.",
    ),
    Metric("task_server_queue_paused", "gauge", QUEUE, "1 if the queue is paused by hand."),
    Metric(
        "task_server_queue_unreadable",
        "gauge",
        QUEUE,
        "1 if the queue cannot be read; then nothing else of it is shown.",
    ),
    Metric(
        "task_server_queue_in_per_minute",
        "gauge",
        QUEUE,
        "Messages that came to the queue a minute, over five minutes.",
    ),
    Metric(
        "task_server_queue_out_per_minute",
        "gauge",
        QUEUE,
        "Messages of the queue that were finished a minute, over five minutes.",
    ),
    Metric(
        "celery_task_received_total",
        "counter",
        TASK,
        "Tries of a task that workers have received; each counts when it has ended.",
    ),
    Metric("celery_task_started_total", "counter", TASK, "The same."),
    Metric(
        "celery_task_succeeded_total",
        "counter",
        TASK,
        "Tries of a task that succeeded. The hostname is `generic`: workers add up what they do.",
    ),
    Metric(
        "celery_task_failed_total",
        "counter",
        (*TASK, "exception"),
        "Tries that failed, with no further one. The exception is empty.",
    ),
    Metric(
        "celery_task_retried_total", "counter", TASK, "Tries that failed, with another to come."
    ),
    Metric(
        "celery_task_rejected_total",
        "counter",
        TASK,
        "Tries without a result, by Reject or Ignore.",
    ),
    Metric("celery_task_runtime", "histogram", TASK, "Seconds that each try ran, failed ones too."),
    Metric(
        "celery_task_queue_wait_time",
        "histogram",
        TASK,
        "Seconds from a task's sending, or from when it was due, to its start.",
    ),
    Metric(
        "celery_worker_up",
        "gauge",
        WORKER,
        "1 if the worker has registered in time, else 0, for ten minutes or while it has messages.",
    ),
    Metric("celery_worker_tasks_active", "gauge", WORKER, "Tasks that run in the worker."),
    Metric(
        "task_server_worker_state",
        "gauge",
        (*WORKER, "state"),
        "Processes of the worker in each state: starting, ready, draining, silent.",
    ),
    Metric(
        "task_server_worker_info",
        "gauge",
        (*WORKER, "pool", "version", "machine"),
        "1; its pool, its version of task-server, and the machine that its host is on.",
    ),
    Metric("task_server_worker_drained", "gauge", WORKER, "1 if the node is drained by hand."),
    Metric("task_server_worker_concurrency", "gauge", WORKER, "Tasks that it runs at once."),
    Metric(
        "task_server_worker_processed_total",
        "counter",
        WORKER,
        "Tasks that it has finished since its start.",
    ),
    Metric("task_server_worker_in_flight", "gauge", WORKER, "Messages that it has."),
    Metric(
        "task_server_worker_silent_in_flight",
        "gauge",
        WORKER,
        "Messages that it has and that nobody else gets before its lease is over: it is silent.",
    ),
    Metric(
        "task_server_worker_oldest_task_seconds",
        "gauge",
        WORKER,
        "For how long its oldest running task has run; 0 if none runs.",
    ),
    Metric(
        "task_server_workers",
        "gauge",
        ("worker",),
        "Workers that are alive, by the part of their node's name before the @.",
    ),
    Metric(
        "task_server_worker_starts_total",
        "counter",
        ("worker",),
        "Starts of workers since this service started, as far as it has looked.",
    ),
    Metric(
        "task_server_worker_stopped_children",
        "gauge",
        WORKER,
        "Processes of its prefork pool that a signal or a debugger has stopped.",
    ),
    Metric(
        "task_server_worker_unready",
        "gauge",
        WORKER,
        "1 if its own health check says that it is not ready though it has been: `status` says "
        "why.",
    ),
    Metric(
        "task_server_worker_tasks_over_limit",
        "gauge",
        WORKER,
        "Tasks that have run beyond their time limit, which does not end them: they hang in C.",
    ),
    Metric("task_server_in_flight", "gauge", (), "Messages that any worker has."),
    Metric(
        "task_server_unowned_in_flight",
        "gauge",
        (),
        "Those of them that workers of Celery have: nothing says which.",
    ),
    Metric(
        "task_server_dead_letters",
        "gauge",
        (),
        "Tasks that crashed their workers, or that no code registers.",
    ),
    Metric("task_server_failed_tasks", "gauge", (), "Failed tasks that are kept, to be retried."),
    Metric("task_server_unreadable_messages", "gauge", (), "Messages that cannot be delivered."),
    Metric(
        "task_server_last_scan_age_seconds",
        "gauge",
        (),
        "Since when no worker has looked for messages of dead workers.",
    ),
    Metric("task_server_broker_info", "gauge", ("product", "role", "policy"), "1; what Redis is."),
    Metric("task_server_broker_memory_bytes", "gauge", (), "Memory that Redis uses."),
    Metric("task_server_broker_memory_max_bytes", "gauge", (), "Its maxmemory; 0 if it has none."),
    Metric("task_server_broker_clients", "gauge", (), "Connections to Redis."),
    Metric("task_server_broker_clients_max", "gauge", (), "Its maxclients."),
    Metric(
        "task_server_broker_is_persistent",
        "gauge",
        (),
        "1 if a restart of Redis keeps what waits.",
    ),
)

#: Names of celery-exporter's that mean what Redis does not say: each with the reason.
NOT_SERVED: Mapping[str, str] = MappingProxyType(
    {
        "celery_task_sent_total": "who sends a task tells nobody but its queue; "
        "`task_server_queue_in_per_minute` is what came to a queue",
        "celery_task_revoked_total": "a revoked task, or one that has expired, is not counted",
    }
)

#: By name.
METRICS: Mapping[str, Metric] = MappingProxyType({one.name: one for one in _EVERY})
