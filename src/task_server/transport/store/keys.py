"""The keys of a fetch: made once for each order of the queue cycle, for there are few."""

# ruff: noqa: SLF001 - Kombu's transports are made of private methods

from typing import TYPE_CHECKING, Final, NamedTuple

from task_server.transport.store import unreadable as unread

if TYPE_CHECKING:
    from task_server.transport.channel import Channel

#: Orders whose keys are kept.
MOST_PLANS: Final = 100


class Plan(NamedTuple):
    """
    The keys of a fetch.

    Attributes:
        queues: In the order of the queue cycle.

        lists: All queues of the first priority, then all of the second, and so on.

        keys: All that the script must have.

        others: Keys that it can do without.

        watchers, baton: See the script; of those who consume the same queues.
    """

    queues: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    watchers: str = ""
    baton: str = ""


class Plans:
    """The plans of one channel."""

    def __init__(self, channel: "Channel") -> None:
        self._channel = channel
        self._known: dict[tuple[str, ...], Plan] = {}

    def of(self, queues: tuple[str, ...]) -> Plan:
        """Return the plan for *queues* in this order."""
        plan = self._known.get(queues)
        if plan is None:
            if len(self._known) >= MOST_PLANS:
                self._known.clear()
            plan = self._known[queues] = self._made(queues)
        return plan

    def _made(self, queues: tuple[str, ...]) -> Plan:
        channel = self._channel
        # Under the name of the unacked messages: where access is limited by
        # patterns of keys, a worker may already use those.
        own = f"{channel.unacked_keys()[0]}.idle:{','.join(sorted(queues))}"
        watchers, baton = f"{own}:watchers", f"{own}:baton"
        lists = tuple(
            channel.prefixed(channel._q_for_pri(queue, priority))
            for priority in channel.priority_steps
            for queue in queues
        )
        keys = (*channel.unacked_keys(), *lists)
        unreadable = channel.unreadable_key
        others = (watchers, baton, unreadable, unread.reasons_key_of(unreadable))
        return Plan(queues, lists, keys, others, watchers, baton)
