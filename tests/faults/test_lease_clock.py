"""The clock of the server is set while workers have messages with a lease."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.lab import Broker, Redis, send, until
from tests.support.lab.clock import Clock
from tests.support.lab.queues import Queue, queues_of

#: Seconds: of the lease, of the jump, and of tasks that outlive lease and grace.
LEASE, JUMP, LONG = 5, 3600, 12

#: Messages of each round: two run, and the others wait in their worker.
TASKS = 8


def fill(queue: Queue, first: int) -> None:
    """Let the holder of *queue* take a round of messages, from number *first* on."""
    # It holds nothing, and so loses nothing.
    queue.beside.process.send_signal(signal.SIGSTOP)
    send(queue.broker, range(first, first + 2), seconds=LONG)
    send(queue.broker, range(first + 2, first + TASKS), seconds=0.2)
    started = {first, first + 1}
    until(
        lambda: not queue.broker.queued() and started <= set(queue.marks.starts()), "a full worker"
    )
    queue.beside.process.send_signal(signal.SIGCONT)


def server_time(broker: Broker) -> float:
    """Return the server's time, seconds."""
    seconds: Any = broker.client.time()
    return float(seconds[0])


def test_the_servers_clock_jumps(require, redis_server: Callable[..., Redis], folder: Path) -> None:
    """
    By an hour, and back: none runs twice whose worker lives; a killed worker's still come back.
    """
    clock = Clock(folder)
    try:
        variables = clock.environ()
    except FileNotFoundError as error:
        require("faketime", f"{error}; install Debian's package libfaketime")
    server = redis_server(prefix=["env", *(f"{key}={value}" for key, value in variables.items())])
    before = server_time(server)
    with queues_of(server, 7200, TASK_SERVER_LEASE_SECONDS=str(LEASE)) as queues:
        for turn, away in enumerate((JUMP, 0)):
            for queue in queues:
                fill(queue, turn * TASKS)
            clock.set(away)
            until(
                lambda away=away: abs(server_time(server) - before - away) < JUMP / 2,
                "the new clock",
            )
            until(lambda: all(queue.broker.is_empty() for queue in queues), "all tasks", 120)
        first = 2 * TASKS
        for queue in queues:
            fill(queue, first)
            queue.holder.kill()
        until(lambda: all(queue.broker.is_empty() for queue in queues), "what was killed", 120)

    for queue in queues:
        once = dict.fromkeys(range(first + TASKS), 1)
        assert once == queue.marks.ends()
        assert once | {first: 2, first + 1: 2} == queue.marks.starts()
