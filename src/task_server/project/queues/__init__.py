"""
The names of a project's queues: which it declares, and which its source only mentions.

Celery knows the queues of `task_queues`, routes, tasks and the default one; a queue
that is only named in a call (`apply_async(queue="batch1")`) stands in the source alone.
"""

from task_server.project.queues.declared import (
    declared,
    django_settings,
    every,
    excluded,
    queue_of,
    route_table,
)
from task_server.project.queues.source import Seen, seen, seen_in

__all__ = [
    "Seen",
    "declared",
    "django_settings",
    "every",
    "excluded",
    "queue_of",
    "route_table",
    "seen",
    "seen_in",
]
