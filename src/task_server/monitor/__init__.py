"""
One view of queues, workers and messages in flight, from Redis alone.

No worker has to answer, and no events are needed: entries of unacked messages say who
has them, and workers register themselves. `snapshot` reads it all once.
"""

from task_server.monitor.model import Age, Broker, Queue, Snapshot, Worker
from task_server.monitor.snapshot import snapshot

__all__ = ["Age", "Broker", "Queue", "Snapshot", "Worker", "snapshot"]
