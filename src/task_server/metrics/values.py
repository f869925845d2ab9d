"""A snapshot -> the value of each metric of queues, workers and the broker: pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, get_args

from task_server.metrics.demand import load, takers
from task_server.monitor.counts import Histogram, TaskStatistics
from task_server.monitor.model import Broker, Queue, Snapshot, State, Worker
from task_server.monitor.stuck import over_limit

#: Seconds for which a silent worker that has no messages is shown, as in celery-exporter.
SHOW_SILENT: Final = 600.0

#: Queues and nodes that are shown: anyone who may write to Redis can invent some.
MOST: Final = 5_000


#: The hostname of what workers add up, as with celery-exporter's option for that.
GENERIC: Final = "generic"


class Value(NamedTuple):
    """One value of the metric *name*, with the values of its labels in their order."""

    name: str
    labels: tuple[str, ...]
    value: float | Histogram


def values(found: Snapshot) -> Iterator[Value]:
    """Return the values of everything in *found*."""
    for what in found.troubles:
        yield Value("task_server_unread", (what,), 1)
    places = _places(found.workers)
    for queue in found.queues[:MOST]:
        yield from _queue(queue, [places.get(node, 0) for node in takers(found, [queue])])
    if len(found.queues) > MOST:
        yield Value("task_server_unread", ("more queues",), 1)
    for task in found.tasks:
        yield from _task(task)
    yield from _workers(found)
    yield Value("task_server_in_flight", (), found.in_flight)
    yield Value("task_server_unowned_in_flight", (), len(found.unowned))
    yield Value("task_server_dead_letters", (), found.dead)
    yield Value("task_server_failed_tasks", (), found.failed)
    yield Value("task_server_unreadable_messages", (), found.unreadable)
    yield from _broker(found.broker, found.at)


def _places(workers: Iterable[Worker]) -> dict[str, int]:
    """Return the concurrency of each node that is ready."""
    found: Counter[str] = Counter()
    for worker in workers:
        if worker.state == "ready":
            found[worker.node] += worker.concurrency or 0
    return dict(found)


def _queue(queue: Queue, places: list[int]) -> Iterator[Value]:
    """Return the values of *queue*; *places* are those of each node that takes from it."""
    name = (queue.name,)
    yield Value("task_server_queue_unreadable", name, bool(queue.trouble))
    yield Value("task_server_queue_paused", name, queue.paused is not None)
    yield Value("celery_active_consumer_count", name, len(places))
    yield Value("celery_active_worker_count", name, len(places))
    yield Value("celery_active_process_count", name, sum(places))
    if queue.trouble:
        return
    yield Value("celery_queue_length", name, queue.length)
    yield Value("task_server_queue_in_flight", name, queue.in_flight)
    yield Value("task_server_queue_delayed", name, queue.delayed)
    yield Value("task_server_queue_due_soon", name, queue.due_soon)
    yield Value("task_server_queue_load", name, load(queue))
    if queue.dead is not None:
        yield Value("task_server_queue_dead_letters", name, queue.dead)
    if queue.unreadable is not None:
        yield Value("task_server_queue_unreadable_messages", name, queue.unreadable)
    if queue.oldest is not None:
        yield Value("task_server_queue_oldest_seconds", name, queue.oldest.seconds)
        yield Value("task_server_queue_oldest_is_exact", name, queue.oldest.is_exact)
    if queue.rate_in is not None:
        yield Value("task_server_queue_in_per_minute", name, queue.rate_in.per_minute)
    if queue.rate_out is not None:
        yield Value("task_server_queue_out_per_minute", name, queue.rate_out.per_minute)


def _task(one: TaskStatistics) -> Iterator[Value]:
    label = (one.task, GENERIC, one.queue)
    # celery-exporter's dashboards choose queues and tasks by the first of them.
    yield Value("celery_task_received_total", label, one.total.ended)
    yield Value("celery_task_started_total", label, one.total.ended)
    yield Value("celery_task_succeeded_total", label, one.total.succeeded)
    yield Value("celery_task_failed_total", (*label, ""), one.total.failed)
    yield Value("celery_task_retried_total", label, one.total.retried)
    yield Value("celery_task_rejected_total", label, one.total.rejected)
    yield Value("celery_task_runtime", label, one.total.ran)
    yield Value("celery_task_queue_wait_time", label, one.total.waited)


def _workers(found: Snapshot) -> Iterator[Value]:
    by_node: defaultdict[str, list[Worker]] = defaultdict(list)
    for worker in found.workers:
        # Of a worker of Celery nothing but its node is known, nor whether it lives.
        if (worker.run or worker.in_flight) and _is_shown(worker, found.at):
            by_node[worker.node].append(worker)
    for node in sorted(by_node)[:MOST]:
        yield from _node(node, by_node[node], found.at)
    if len(by_node) > MOST:
        yield Value("task_server_unread", ("more workers",), 1)
    alive = Counter(_kind(one.node) for one in found.workers if _is_alive(one))
    for kind in sorted({_kind(node) for node in by_node})[:MOST]:
        yield Value("task_server_workers", (kind,), alive[kind])


def _is_shown(worker: Worker, now: float) -> bool:
    if worker.state != "silent" or worker.in_flight:
        return True
    return now - (worker.seen or 0.0) < SHOW_SILENT


def _is_alive(worker: Worker) -> bool:
    return worker.state not in (None, "silent")


def _kind(node: str) -> str:
    """Return the name of the worker, as its configuration has it."""
    return node.partition("@")[0]


def _node(node: str, processes: list[Worker], now: float) -> Iterator[Value]:
    """
    Return the values of one node: of its process, and of former ones that left messages.
    """
    name, _, host = node.partition("@")
    label = (host or name, node)
    alive = [one for one in processes if _is_alive(one)]
    yield Value("celery_worker_up", label, bool(alive))
    yield Value("celery_worker_tasks_active", label, sum(one.active or 0 for one in alive))
    states = Counter(one.state or "silent" for one in processes)
    for state in get_args(State):
        yield Value("task_server_worker_state", (*label, state), states[state])
    newest = max(processes, key=lambda one: one.seen or 0.0)
    kind = (newest.pool, newest.version, newest.machine)
    yield Value("task_server_worker_info", (*label, *kind), 1)
    drained = any(one.drained for one in processes)
    yield Value("task_server_worker_drained", label, drained)
    yield Value("task_server_worker_concurrency", label, sum(one.concurrency or 0 for one in alive))
    if newest.processed is not None:
        yield Value("task_server_worker_processed_total", label, newest.processed)
    counts = [(len(one.in_flight), _is_alive(one)) for one in processes]
    yield Value("task_server_worker_in_flight", label, sum(count for count, _ in counts))
    silent = sum(count for count, is_alive in counts if not is_alive)
    yield Value("task_server_worker_silent_in_flight", label, silent)
    yield Value(
        "task_server_worker_stopped_children", label, sum(len(one.stopped) for one in alive)
    )
    yield Value("task_server_worker_unready", label, any(one.unready for one in alive))
    over = sum(len(over_limit(one, now)) for one in alive)
    yield Value("task_server_worker_tasks_over_limit", label, over)
    started = [at for one in processes for at in one.started.values()]
    oldest = max(0.0, now - min(started)) if started else 0.0
    yield Value("task_server_worker_oldest_task_seconds", label, oldest)


def _broker(broker: Broker, now: float) -> Iterator[Value]:
    yield Value("task_server_broker_info", (broker.product, broker.role, broker.policy), 1)
    numbers = {
        "task_server_broker_memory_bytes": broker.memory,
        "task_server_broker_memory_max_bytes": broker.max_memory,
        "task_server_broker_clients": broker.clients,
        "task_server_broker_clients_max": broker.max_clients,
        "task_server_broker_is_persistent": broker.is_persistent,
        "task_server_last_scan_age_seconds": broker.last_scan and max(0.0, now - broker.last_scan),
    }
    for name, value in numbers.items():
        if value is not None:
            yield Value(name, (), value)
