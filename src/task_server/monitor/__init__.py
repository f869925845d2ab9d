"""
One view of queues, workers and messages in flight, from Redis alone.

No worker has to answer, and no events are needed: entries of unacked messages say who
has them, and workers register themselves. `snapshot` reads it all once; `hour` and `day` read
what was finished before, see `monitor.statistics`.
"""

from task_server.monitor.counts import Counts, Finished, Histogram, TaskStatistics
from task_server.monitor.model import Age, Broker, Queue, Rate, Snapshot, StoppedChild, Worker
from task_server.monitor.snapshot import snapshot
from task_server.monitor.statistics import History, day, hour
from task_server.transport.store.statistics import BOUNDS

__all__ = [
    "BOUNDS",
    "Age",
    "Broker",
    "Counts",
    "Finished",
    "Histogram",
    "History",
    "Queue",
    "Rate",
    "Snapshot",
    "StoppedChild",
    "TaskStatistics",
    "Worker",
    "day",
    "hour",
    "snapshot",
]
