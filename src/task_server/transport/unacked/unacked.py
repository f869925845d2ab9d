"""The parts of one channel that deal with what is delivered and not acknowledged."""

from dataclasses import dataclass
from typing import Any, Protocol

from task_server.transport.hooks import Hooks
from task_server.transport.started.reporter import StartReporter
from task_server.transport.store.client import Store
from task_server.transport.store.dead_letters import DeadLetter
from task_server.transport.timing import Timing
from task_server.transport.unacked.acks import Acks
from task_server.transport.unacked.delivered import Delivered
from task_server.transport.unacked.ownership import Ownership
from task_server.transport.unacked.pending import Pending
from task_server.transport.unacked.prefetched import Prefetched
from task_server.transport.unacked.redeliver import Redelivery
from task_server.transport.unacked.restore import Restore
from task_server.transport.unacked.routes import Routes
from task_server.transport.unacked.unacked_bytes import UnackedBytes
from task_server.transport.unacked.unregistered import Unregistered


class Link(Routes, Protocol):
    """What the parts ask their channel."""

    def is_connected(self) -> bool:
        """Return whether the channel still has its connection."""

    def is_polled(self) -> bool:
        """Return whether the channel is open, and its connection polled."""

    def can_ack_later(self) -> bool:
        """Return whether a fetch is due that takes acknowledgements along."""

    def consumed_queues(self) -> set[str]:
        """Return the queues that are consumed."""

    def new_pool(self) -> Any:
        """Return a new pool like the channel's."""

    def report_pool(self) -> Any:
        """Return the pool for the connection of the reports; None if not connected."""

    def on_dead_letter(self, letter: DeadLetter) -> None:
        """Give a new dead letter to the worker."""

    def wake(self) -> None:
        """Wake the loop, if it may wait: there is room for a message."""


@dataclass(frozen=True, slots=True)
class Unacked:
    """The parts, for Kombu's QoS, the fetcher and the channel."""

    store: Store
    timing: Timing
    hooks: Hooks
    pending: Pending
    link: Link
    delivered: Delivered
    prefetched: Prefetched
    acks: Acks
    ownership: Ownership
    reporter: StartReporter
    unregistered: Unregistered
    redelivery: Redelivery
    restore: Restore

    @classmethod
    def of(
        cls,
        link: Link,
        store: Store,
        timing: Timing,
        hooks: Hooks,
        pending: Pending,
        *,
        poison_limit: int,
        prefetch_bytes: int,
    ) -> "Unacked":
        """Make the parts for the channel behind *link*."""
        delivered = Delivered(UnackedBytes(prefetch_bytes))
        prefetched = Prefetched(store, pending)
        acks = Acks(store, pending, link.is_connected, link.can_ack_later)
        ownership = Ownership(
            store,
            timing,
            pending.lease,
            hooks,
            delivered=delivered,
            prefetched=prefetched,
            acks=acks,
            new_pool=link.new_pool,
            is_polled=link.is_polled,
        )
        redelivery = Redelivery(store, link, poison_limit, hooks, link.on_dead_letter)
        unregistered = Unregistered(store, redelivery, link.consumed_queues, hooks.registered_tasks)
        restore = Restore(
            store,
            timing,
            hooks,
            pending,
            redelivery=redelivery,
            unregistered=unregistered,
            ownership=ownership,
        )
        reporter = StartReporter(
            store,
            pending.reported,
            timing.visibility_timeout,
            hooks.started or hooks.running,
            link.report_pool,
        )
        return cls(
            store=store,
            timing=timing,
            hooks=hooks,
            pending=pending,
            link=link,
            delivered=delivered,
            prefetched=prefetched,
            acks=acks,
            ownership=ownership,
            reporter=reporter,
            unregistered=unregistered,
            redelivery=redelivery,
            restore=restore,
        )
