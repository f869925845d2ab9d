"""How many messages come into a queue, and leave it, in a minute."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from task_server.monitor.counts import TaskStatistics
from task_server.monitor.model import Queue, Rate


def with_rates(
    queues: Iterable[Queue],
    tasks: Iterable[TaskStatistics],
    before: Mapping[str, int],
    seconds: float,
    *,
    are_all_ours: bool,
) -> Iterator[Queue]:
    """
    Return *queues* with their rates.

    What leaves is what workers have finished; what comes is that, and by how much the queue has
    grown. Both are unknown where none of our workers takes from the queue, or has not for long.

    Args:
        before: How much waited, by queue, *seconds* ago.

        are_all_ours: Whether there are no workers of Celery's own, whose work nobody counts.
    """
    out: Counter[str] = Counter()
    for one in tasks:
        out[one.queue] += one.recent.ended
    for queue in queues:
        if not (queue.consumers or out[queue.name]) or queue.trouble:
            yield queue
            continue
        rate_in = None
        if queue.name in before:
            came = out[queue.name] + queue.length - before[queue.name]
            rate_in = Rate(per_minute=max(0.0, 60 * came / seconds), is_exact=are_all_ours)
        left = Rate(per_minute=60 * out[queue.name] / seconds, is_exact=are_all_ours)
        yield replace(queue, rate_in=rate_in, rate_out=left)
