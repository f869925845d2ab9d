"""
The main process of a worker whose children fetch for themselves.

It tells them whether, and from where, they fetch. Where one thing is not served this way, nobody
fetches for himself while it lasts, and all messages pass through the main process.
"""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Protocol

from celery.worker.control import Panel

from task_server.worker.direct.adopt import Adoption
from task_server.worker.direct.children import Children
from task_server.worker.direct.conditions import NOT_CONNECTED, STOPPING, TRANSIENT, Conditions
from task_server.worker.direct.notice import Notice, Terms
from task_server.worker.direct.slot import State

logger: Final = logging.getLogger(__name__)

#: Seconds between two looks at what children run, while they fetch for themselves.
LOOK_SECONDS: Final = 0.1

#: Seconds after the last job, during which a child may begin to fetch unseen.
LINGER_SECONDS: Final = 1.0

#: Remote control that tells of running tasks, or does something to them.
COMMANDS: Final = (
    *("active", "dump_active", "reserved", "dump_reserved", "query_task", "stats"),
    *("revoke", "revoke_by_stamped_headers", "terminate", "rate_limit"),
)


class Drain(Protocol):
    """
    Of a drain, what is asked and told here.

    Attributes:
        is_settled: Whether no child has, or gets, a message that is not known.
    """

    is_settled: Callable[[], bool]

    @property
    def requested(self) -> bool: ...


class Heartbeat(Protocol):
    """Of a heartbeat, what is told here."""

    def received_many(self, count: int) -> None: ...


class Engine:
    """
    The engine of one worker.

    Args:
        drain: The worker's.

        heartbeat: What counts the messages that are received.

    Attributes:
        is_wanted: Whether children fetch for themselves; otherwise nothing here has an effect.
    """

    def __init__(self, drain: Drain, heartbeat: Heartbeat) -> None:
        self.is_wanted = False
        self._drain = drain
        self._heartbeat = heartbeat
        self._controller: Any = None
        self._children: Children | None = None
        self._notice: Notice | None = None
        self._quarantine: Any = None
        self._conditions: Conditions | None = None
        self._hub: Any = None
        self._told: Any = None
        self._is_open = False
        self._timer: Any = None
        self._until = 0.0
        self._said: set[str | None] = set()

    # What the transport and a drain ask

    def held(self) -> set[str]:
        """Return the delivery tags of what children have; any thread may ask."""
        slots = () if self._children is None else self._children.slots
        return {tag for slot in slots if (tag := slot.held())}

    def started(self) -> set[str]:
        """Return those whose tasks run."""
        slots = () if self._children is None else self._children.slots
        return {tag for slot in slots if slot.state == State.RUNNING and (tag := slot.held())}

    def room(self) -> int | None:
        """Return for how many messages a child waits; None if that does not count."""
        if self._children is None:
            return None
        pool = self._children.pool
        waiting = len(pool.outbound_buffer) + len(self._controller.semaphore._waiting)  # noqa: SLF001
        return int(pool.free) - waiting

    @property
    def is_settled(self) -> bool:
        """Whether no child has, or gets, a message that is not known here."""
        return self._children is None or not self._children.is_unknown

    # The life of the worker

    def attach(self, controller: Any, quarantine: Any) -> None:
        """Use the pool of *controller*, which has forked its children."""
        if not self.is_wanted:
            return
        self._controller, self._quarantine = controller, quarantine
        pool = controller.pool._pool  # noqa: SLF001 - Celery has no other way
        if not hasattr(pool, "notice"):
            # Without an event loop Celery takes another one.
            return
        self._children = Children(
            pool, self._can_receive, self._heartbeat.received_many, self._on_job
        )
        self._notice = pool.notice
        pool.parent = self._children
        for name in COMMANDS:
            command = Panel.data.get(name)
            if command is not None:
                Panel.data[name] = self._adopting(command)

    def register(self, hub: Any) -> None:
        """Look at each turn of *hub*, the event loop."""
        if self.is_wanted:
            self._hub, self._timer = hub, None
            hub.on_tick.add(self.tick)

    def connect(self, consumer: Any) -> None:
        """Use the new connection of *consumer*, which is about to consume."""
        if self._children is not None:
            self._children.adoption = Adoption(self._controller, consumer)
            self._conditions = Conditions(consumer, self._quarantine)

    def disconnect(self) -> None:
        """Let no child fetch: the connection is lost, or no longer needed."""
        self._conditions = None
        self.tick()
        self.adopt()

    def adopt(self) -> None:
        """Adopt all tasks that children run."""
        if self._children is not None:
            self._children.adopt()

    # The event loop

    def tick(self) -> None:
        """Tell the children what has changed."""
        notice, children, conditions = self._notice, self._children, self._conditions
        if notice is None or children is None:
            return
        waiting = children.pool.outbound_buffer or self._controller.semaphore._waiting  # noqa: SLF001
        if not waiting and conditions is not None and children.adoption is not None:
            waiting = children.adoption.channel.unacked.prefetched
        if bool(waiting) != notice.wanted:
            notice.want(wanted=bool(waiting))
        reason = self._reason(conditions)
        told = (reason is None, conditions and conditions.signature())
        if told != self._told:
            self._told = told
            self._tell(notice, conditions, reason)

    def _can_receive(self) -> bool:
        return self._conditions is not None and not self._drain.requested

    def _reason(self, conditions: Conditions | None) -> str | None:
        if conditions is None:
            return NOT_CONNECTED
        return STOPPING if self._drain.requested else conditions.reason()

    def _tell(self, notice: Notice, conditions: Conditions | None, reason: str | None) -> None:
        was_open, self._is_open = self._is_open, reason is None
        terms = Terms()
        if conditions is not None:
            terms = conditions.terms(self._controller.hostname, is_open=self._is_open)
        if not notice.tell(terms):
            self._is_open, reason = False, "too many tasks are revoked"
        if was_open and not self._is_open:
            self.adopt()
        self._say(reason)

    def _say(self, reason: str | None) -> None:
        """Log each reason once."""
        if reason in self._said or reason in TRANSIENT:
            return
        self._said.add(reason)
        if reason is None:
            logger.info("fetch = direct: children that have ended a task fetch for themselves")
        else:
            logger.warning(
                "fetch = direct is set, and messages pass through the main process: %s", reason
            )

    def _on_job(self) -> None:
        """Look at the children for a while: one may fetch for itself now."""
        self._until = monotonic() + LINGER_SECONDS
        if self._timer is None and self._hub is not None:
            self._timer = self._hub.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        children = self._children
        if children is None:
            return
        children.adopt(monotonic() - LOOK_SECONDS)
        if monotonic() < self._until or not all(slot.is_idle for slot in children.slots):
            self._timer = self._hub.call_later(LOOK_SECONDS, self._look)

    def _adopting(self, command: Any) -> Any:
        def adopt_first(*args: Any, **kwargs: Any) -> Any:
            self.adopt()
            try:
                return command(*args, **kwargs)
            finally:
                if self._conditions is not None:
                    self._conditions.forget_limits()
                # The children know it before whoever has asked for it.
                self.tick()

        return adopt_first
