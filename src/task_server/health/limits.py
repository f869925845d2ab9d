"""From when on a worker is unhealthy, in seconds; a plain class, which a health check imports."""


class Limits:
    """
    What a verdict goes by; `task_server.launch.timing.Timing` is one, and describes each.

    Without a decorator: `dataclasses` takes longer to import than a health check may last.
    """

    stale: float = 30.0
    max_start: float = 120.0
    max_connect: float = 180.0
    max_idle: float = 60.0
    max_overdue: float = 20.0
    max_database_wait: float = 600.0
