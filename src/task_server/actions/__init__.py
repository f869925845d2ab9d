"""
What an operator does by hand: pure functions over a Redis client and its keys.

Each of them records itself, see `audit`. The client adds no prefix; *who* is the operator,
as the audit names them. They raise `RefusedError` with the reason, a RedisError when Redis does
not answer, and a ResponseError when the user of the broker URL may not do it.
"""

from task_server.actions import audit
from task_server.actions.names import RefusedError
from task_server.actions.purge import count, purge
from task_server.actions.requeue import requeue
from task_server.actions.stops import drain, pause, resume, resume_node

__all__ = [
    "RefusedError",
    "audit",
    "count",
    "drain",
    "pause",
    "purge",
    "requeue",
    "resume",
    "resume_node",
]
