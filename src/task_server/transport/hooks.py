"""What a worker does for the transport: handed in once, before the first connection."""

import logging
from collections.abc import Callable, Collection, Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from task_server.transport.store.dead_letters import DeadLetter
    from task_server.transport.store.parts import Part

logger: Final = logging.getLogger(__name__)


def _nothing() -> tuple[()]:
    return ()


def _no_bound() -> None:
    return None


def _log_lost(delivery_tags: Collection[str]) -> tuple[()]:
    if delivery_tags:
        logger.warning("%d unacknowledged messages now belong to other workers", len(delivery_tags))
    return ()


def _ignore(_channel: Any, _letter: "DeadLetter") -> None:
    """Ignore a dead letter."""


def _leave(_parts: "Iterable[Part]") -> None:
    """Do nothing before a redelivery."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """
    The functions of a worker that the transport calls.

    Attributes:
        running: Returns the delivery tags of the messages whose tasks outlive
            their connection. The next connection renews them, and they are not
            redelivered.

        started: Returns those of `running` that have said that they start, which may
            crash the worker; None if that is all of them.

        held: Returns the delivery tags of the messages that children of this process have
            fetched for themselves; any thread may ask.

        room: Returns how many more messages the process may have; None is no bound but
            those of its consumers.

        registered_tasks: Returns the names of the tasks that this process registers.

        on_lost_leases: Gets the delivery tags of messages that other workers own
            now; returns those whose tasks will not start here.

        on_dead_letter: Gets the channel, and a message that has just become a
            dead letter.

        before_redelivery: Gets those messages of dead workers that are parts of
            groups, before they are redelivered.

        reports_started: Whether started tasks are reported to Redis. If not, any
            message of a dead worker may have crashed it.
    """

    running: Callable[[], Collection[str]] = _nothing
    started: Callable[[], Collection[str]] | None = None
    held: Callable[[], Collection[str]] = _nothing
    room: Callable[[], int | None] = _no_bound
    registered_tasks: Callable[[], Container[str]] = _nothing
    on_lost_leases: Callable[[Collection[str]], Collection[str]] = _log_lost
    on_dead_letter: Callable[[Any, "DeadLetter"], None] = _ignore
    before_redelivery: Callable[[Iterable["Part"]], None] = _leave
    reports_started: bool = False


class _Current:
    hooks = Hooks()


def set_hooks(hooks: Hooks) -> None:
    """Use *hooks* for channels that are created later."""
    _Current.hooks = hooks


def current_hooks() -> Hooks:
    """Return the hooks for a new channel."""
    return _Current.hooks
