"""
How often a worker does what it repeats, how long it waits for others, and from when on it
is unhealthy: one frozen value.

Nothing in it is a setting. `TASK_SERVER_TIMING` is for tests alone, which cannot wait as long
as an operator can: JSON, such as ``{"heartbeat": 0.2, "queue_scan": 1}``. The launcher reads it
into the worker's spec; the health check reads it too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from task_server.errors import ConfigError, Problem
from task_server.health.limits import Limits

#: The private variable of tests.
TIMING_VARIABLE = "TASK_SERVER_TIMING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing(Limits):
    """
    Intervals and time-outs of a worker, in seconds.

    Attributes:
        heartbeat: Between two heartbeats.

        queue_scan: Between two reads of the lengths of the queues.

        registration: Between two registrations of the worker in Redis, see `status`.

        restore_interval: Between two searches for messages of lost workers.

        drain_tick: Between two checks of Celery's event loop whether a drain can go on.

        green_drain_tick: Between two steps of a drain under gevent, once it has begun.

        last_answer: For the answer to the last BRPOP, whose time-out is a second.

        debounce: Signals within this time count as one: Ctrl-C reaches the worker from
            the terminal, and again from its supervisor.

        stop_grace: For a task that is stopped, until it is killed.

        cancel_grace: For a cancelled coroutine to run its `finally` blocks.

        finish: For everything after the drain time: stopping tasks, requeueing, Celery's
            own steps. After it the process exits as it is.

        leave: For Celery's own steps when no task runs.

        socket_timeout: For an answer of the broker.

        connect_timeout: For a connection to the broker.

        health_check: A connection that was silent for so long is checked before its use.

        probe_timeout: For a connection of the worker's own checks (the lengths of queues,
            the result backend), and again for its answer: they block the event loop.

        leaked_slot: For Celery to process the end of a task, before its slot counts as leaked.

        stale: Age of the heartbeat at which the event loop counts as blocked.

        max_start: The same while the worker starts; importing a large project takes a while.

        max_connect: The same while it connects to Redis: the kernel gives up on a host that
            drops packets only after 130 s.

        max_idle: Fetching nothing although messages are queued and slots are free.

        max_overdue: After the end of the drain, until it should have exited.

        max_database_wait: Without a PostgreSQL connection returned, while tasks that wait
            for locks have all of them.
    """

    heartbeat: float = 2.0
    queue_scan: float = 10.0
    registration: float = 5.0
    restore_interval: float = 10
    drain_tick: float = 0.2
    green_drain_tick: float = 0.1
    last_answer: float = 1.5
    debounce: float = 1.0
    stop_grace: float = 2.0
    cancel_grace: float = 2.0
    finish: float = 12.0
    leave: float = 5.0
    socket_timeout: float = 20
    connect_timeout: float = 10
    health_check: float = 25
    probe_timeout: float = 2.0
    leaked_slot: float = 30.0
    stale: float = Limits.stale
    max_start: float = Limits.max_start
    max_connect: float = Limits.max_connect
    max_idle: float = Limits.max_idle
    max_overdue: float = Limits.max_overdue
    max_database_wait: float = Limits.max_database_wait

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """
        Return the timing that TASK_SERVER_TIMING changes, or the default.

        Raises:
            ConfigError: When it is not JSON, or names something that is not in here.
        """
        text = environ.get(TIMING_VARIABLE)
        if text is None:
            return cls()
        try:
            values = json.loads(text)
        except ValueError as error:
            raise _error(f"is not JSON ({error})") from None
        if not isinstance(values, dict):
            raise _error('is not an object; write {"heartbeat": 0.2}')
        problems = [message for name, value in values.items() if (message := _fault(name, value))]
        if problems:
            raise _error(*problems)
        return cls(**values)


#: What every worker has, tests aside.
DEFAULT_TIMING = Timing()

#: The names that the variable may have.
_NAMES = frozenset(field.name for field in fields(Timing))


def _fault(name: str, value: Any) -> str | None:
    if name not in _NAMES:
        return f"{name!r} is unknown; choose from {', '.join(sorted(_NAMES))}"
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value < float("inf")
    ):
        return f"{name}: {value!r} is not a number of seconds above 0"
    return None


def _error(*messages: str) -> ConfigError:
    return ConfigError([Problem(TIMING_VARIABLE, message) for message in messages])
