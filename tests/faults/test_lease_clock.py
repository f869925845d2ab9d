"""The clock of the server is set while workers have messages with a lease."""

import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.lab import POOLS, Broker, Marks, Redis, Worker, send, start, until
from tests.support.lab.clock import Clock

#: Seconds: of the lease, of the jump, and of tasks that outlive lease and grace.
LEASE, JUMP, LONG = 5, 3600, 12

#: Messages of each round: two run, and the others wait in their worker.
TASKS = 8


@dataclass
class Queue:
    """A queue with a worker that has all messages, and one that would take expired ones."""

    broker: Broker
    marks: Marks
    holder: Worker
    beside: Worker

    def fill(self, first: int) -> None:
        """Let the holder take a round of messages, from number *first* on."""
        # It holds nothing, and so loses nothing.
        self.beside.process.send_signal(signal.SIGSTOP)
        send(self.broker, range(first, first + 2), seconds=LONG)
        send(self.broker, range(first + 2, first + TASKS), seconds=0.2)
        started = {first, first + 1}
        until(
            lambda: not self.broker.queued() and started <= set(self.marks.starts()),
            "a full worker",
        )
        self.beside.process.send_signal(signal.SIGCONT)


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
    with ExitStack() as stack:
        queues = []
        for number, pool in enumerate(POOLS):
            database, marks = server.database(number), Marks(folder, f"marks-{pool}")
            workers = {}
            for name in ("holder", "beside"):
                # As on a host of its own: what is due is found by its lease alone.
                own = folder / f"{name}-{number}"
                own.mkdir(mode=0o700)
                environ = {
                    "NUMBER": name,
                    "TASK_SERVER_RUNTIME_DIR": str(own),
                    "TASK_SERVER_LEASE_SECONDS": str(LEASE),
                }
                workers[name] = stack.enter_context(
                    start(
                        *("atomic", pool, database, marks),
                        **{"visibility": 7200, "concurrency": 2, **environ},
                    )
                )
            queues.append(Queue(database, marks, **workers))
        for queue in queues:
            queue.holder.ready()
            queue.beside.ready()
        for turn, away in enumerate((JUMP, 0)):
            for queue in queues:
                queue.fill(turn * TASKS)
            clock.set(away)
            until(
                lambda away=away: abs(server_time(server) - before - away) < JUMP / 2,
                "the new clock",
            )
            until(lambda: all(queue.broker.is_empty() for queue in queues), "all tasks", 120)
        first = 2 * TASKS
        for queue in queues:
            queue.fill(first)
            queue.holder.kill()
        until(lambda: all(queue.broker.is_empty() for queue in queues), "what was killed", 120)

    for queue in queues:
        once = dict.fromkeys(range(first + TASKS), 1)
        assert once == queue.marks.ends()
        assert once | {first: 2, first + 1: 2} == queue.marks.starts()
