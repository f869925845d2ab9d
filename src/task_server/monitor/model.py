"""What a snapshot has, frozen. Times are seconds since 1970, by the server's clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from task_server.monitor.counts import TaskStatistics
from task_server.transport.store.in_flight import InFlight
from task_server.transport.store.stops import Stop

State = Literal["starting", "ready", "draining", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """
    How long the oldest message of a queue has waited, in seconds.

    Attributes:
        is_exact: False if it may have waited for longer: nothing says when it was sent.
    """

    seconds: float
    is_exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """
    Messages a minute, over the last five minutes.

    Attributes:
        is_exact: False if there may be more: workers of Celery's own count nothing.
    """

    per_minute: float
    is_exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """
    One queue.

    Attributes:
        waiting: Messages, by priority; those with none are left out.

        in_flight: Messages that a worker has.

        delayed: Tasks that are due later; *due_soon* of them within a minute.

        dead, unreadable: Dead letters of it, and messages that cannot be delivered; None if those
            of all queues are too many to be counted by queue, see `monitor.undelivered`.

        dead_tasks: Some of its dead letters, the last ones: TASK[ID].

        why_unreadable: Why one of its messages cannot be delivered; empty if none is known.

        oldest: 0 seconds if nothing waits; None if it cannot be read.

        consumers: Nodes of our workers that take from it: none that stops or is drained. Redis
            does not say what stock workers take from.

        rate_in, rate_out: How many come, and how many are finished; None where no worker of ours
            takes from it. What is delayed comes when it is due.

        usual: Seconds that its messages usually wait, see `monitor.usual`; None if that is not
            known, or nothing has waited for long now.

        trouble: Why it cannot be read; empty if it can.

        paused: Who paused it; our workers take nothing from it then.
    """

    name: str
    waiting: Mapping[int, int]
    in_flight: int = 0
    delayed: int = 0
    due_soon: int = 0
    dead: int | None = None
    unreadable: int | None = None
    dead_tasks: tuple[str, ...] = ()
    why_unreadable: str = ""
    oldest: Age | None = None
    consumers: tuple[str, ...] = ()
    rate_in: Rate | None = None
    rate_out: Rate | None = None
    usual: float | None = None
    trouble: str = ""
    paused: Stop | None = None

    @property
    def length(self) -> int:
        """All messages that wait."""
        return sum(self.waiting.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedChild:
    """
    A process of a prefork pool that a signal or a debugger has stopped.

    Attributes:
        tag: The delivery tag of what it runs; empty if it runs nothing.
    """

    pid: int
    since: float
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """
    One worker.

    Attributes:
        run: The random id of its process; '' of one with Kombu's transport, of which
            only its node is known, and of an older version.

        host: Its host name; in a pod that is the name of the pod.

        machine: The machine that the host is on, such as the node of Kubernetes; '' if
            nobody said.

        state: silent: it should have registered again by now.

        since: Since when it is in that state.

        seen: When it last registered.

        in_flight: The messages that it has, the oldest first.

        started: When its tasks started, by delivery tag; of the oldest ones.

        limits: How many seconds they may run, by delivery tag; of those that have a limit.

        pids: The processes of its pool in which they run, by delivery tag; of prefork alone.

        stopped: Its pool's processes that cannot go on; some of them, if they are many.

        unready: Why its health check says that it takes nothing, or gets on with nothing; empty
            if that is well.

        renews: Whether it is silent and renews the leases of its messages all the same: its
            process lives, and its loop is blocked.

        ended: How many tasks ended in each way, as `Counts` have it, since it started.

        drained: Who drained its node by hand; it takes nothing then.

        obeys: Whether it obeys a pause, and a drain: a worker of Celery does not, nor one of an
            older version, nor one with Kombu's transport.
    """

    node: str
    run: str = ""
    host: str = ""
    machine: str = ""
    pid: int | None = None
    pool: str = ""
    version: str = ""
    state: State | None = None
    since: float | None = None
    seen: float | None = None
    concurrency: int | None = None
    active: int | None = None
    processed: int | None = None
    queues: tuple[str, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    started: Mapping[str, float]
    limits: Mapping[str, float] = field(default_factory=dict)
    pids: Mapping[str, int] = field(default_factory=dict)
    stopped: tuple[StoppedChild, ...] = ()
    unready: str = ""
    renews: bool = False
    ended: Mapping[str, int] = field(default_factory=dict)
    drained: Stop | None = None
    obeys: bool = False

    @property
    def takes(self) -> bool:
        """Whether it takes messages: not one that starts, stops, is silent, or drained by hand."""
        return self.state == "ready" and not (self.drained is not None and self.obeys)

    @property
    def place(self) -> str:
        """Where its process runs: the host, and the machine if that is another."""
        is_other = self.machine and self.machine != self.host
        return f"{self.host} on {self.machine}" if is_other else self.host

    def may_ignore_pause(self, queue: str) -> bool:
        """Whether it may take from *queue* though that is paused; a silent one takes nothing."""
        is_there = not (self.obeys or self.state == "silent")
        return is_there and (not self.queues or queue in self.queues)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """
    The server. None and '' stand for what it does not say.

    Attributes:
        product: Redis or Valkey, with its version.

        memory, max_memory: In bytes; 0 is no limit.

        policy: What it does when its memory is full.

        is_persistent: Whether a restart keeps what waits.

        last_scan: When workers last looked for messages of dead workers.
    """

    product: str = ""
    role: str = ""
    memory: int | None = None
    max_memory: int | None = None
    policy: str = ""
    is_persistent: bool | None = None
    clients: int | None = None
    max_clients: int | None = None
    last_scan: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """
    Everything, at one moment.

    Attributes:
        at: The server's time.

        in_flight: Messages that any worker has; details are in the workers.

        unowned: Messages in flight of which nothing says who has them: those of
            workers with Kombu's transport.

        dead: Dead letters.

        failed: Failed tasks that are kept.

        unreadable: Messages that cannot be delivered.

        tasks: What workers have finished, by task and queue; see `monitor.statistics`.

        usual: Seconds that tasks usually run, by name; of those alone of which one runs for long.

        drained: The nodes that are drained by hand, those that are not there too.

        troubles: What could not be read, with the reason, by what it is.
    """

    at: float
    broker: Broker
    queues: tuple[Queue, ...] = ()
    workers: tuple[Worker, ...] = ()
    in_flight: int = 0
    unowned: tuple[InFlight, ...] = ()
    dead: int = 0
    failed: int = 0
    unreadable: int = 0
    tasks: tuple[TaskStatistics, ...] = ()
    usual: Mapping[str, float] = field(default_factory=dict)
    troubles: Mapping[str, str]
    drained: Mapping[str, Stop] = field(default_factory=dict)

    @property
    def delayed(self) -> int:
        """All tasks that are due later."""
        return sum(queue.delayed for queue in self.queues)
