"""The thread that renews leases sees each message while the loop moves it on."""

import json
import sys
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import pytest

from task_server.transport.hooks import Hooks
from task_server.transport.store.client import Store
from task_server.transport.store.keys import Keys
from task_server.transport.timing import Timing
from task_server.transport.unacked import acks, delivered, delivery, ownership, prefetched
from task_server.transport.unacked.acks import Acks
from task_server.transport.unacked.delivered import Delivered
from task_server.transport.unacked.delivery import Delivery
from task_server.transport.unacked.ownership import Ownership
from task_server.transport.unacked.pending import Pending
from task_server.transport.unacked.prefetched import Message, Prefetched

FILES = {one.__file__ for one in (acks, delivered, delivery, ownership, prefetched)}

TAG = "tag"
PAYLOAD = json.dumps({"headers": {}, "properties": {"delivery_tag": TAG}}).encode()
MESSAGE = Message("celery", TAG, PAYLOAD, "celery", "")
OTHER = MESSAGE._replace(delivery_tag="other")


class Channel:
    """One message of a channel, without its Redis."""

    def __init__(self, *messages: Message) -> None:
        store = Store(Keys(), lambda: None, ())
        pending = Pending()
        self.delivered = Delivered()
        self.messages: dict[str, Any] = {}
        self.dirty: set[str] = set()
        self.delivered.share(self.messages, self.dirty)
        self.prefetched = Prefetched(store, pending)
        self.prefetched.extend(messages)
        self.acks = Acks(store, pending, lambda: True, lambda: True)
        self.ownership = Ownership(
            store,
            Timing(3600.0, 0.0, 10.0),
            pending.lease,
            Hooks(),
            delivered=self.delivered,
            prefetched=self.prefetched,
            acks=self.acks,
            new_pool=lambda: None,
            is_polled=lambda: True,
        )
        self._delivery = Delivery(
            store,
            self.prefetched,
            self.delivered,
            self.ownership,
            can_consume=lambda: True,
            deliver=lambda payload, _: self.messages.update({TAG: payload}),
            move_to_unreadable=pytest.fail,
            is_single=lambda: False,
        )

    def deliver(self) -> None:
        self._delivery.deliver()

    def ack(self) -> None:
        """Acknowledge as `QoS.ack` does."""
        self.acks.add(TAG)
        self.dirty.add(TAG)

    def drop_the_other(self) -> None:
        self.prefetched.drop({OTHER.delivery_tag})

    def send_acks(self) -> None:
        """Take what waits, for a fetch that fails."""
        self.acks.put_back(self.acks.take())


def fetched() -> Channel:
    return Channel(MESSAGE)


def fetched_with_another() -> Channel:
    return Channel(OTHER, MESSAGE)


def running() -> Channel:
    channel = Channel(MESSAGE)
    channel.deliver()
    return channel


def done() -> Channel:
    channel = running()
    channel.ack()
    return channel


MOVES = pytest.mark.parametrize(
    ("start", "move"),
    [
        (fetched, Channel.deliver),
        (fetched_with_another, Channel.drop_the_other),
        (running, Channel.ack),
        (done, Channel.send_acks),
    ],
    ids=["deliver", "drop", "ack", "send"],
)


def interrupted(run: Callable[[], object], line: int, meanwhile: Callable[[], object]) -> bool:
    """Call *run*, and *meanwhile* before its *line*-th line; return whether it has so many."""
    lines = count()
    reached = False

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal reached
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line" and not reached and next(lines) == line:
            reached = True
            sys.settrace(None)
            meanwhile()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return reached


@MOVES
def test_the_loop_moves_a_message_while_the_thread_reads(
    start: Callable[[], Channel], move: Callable[[Channel], None]
) -> None:
    """
    Wherever the thread is interrupted, it has seen the message or sees it where it is now.
    """
    for line in count():
        channel = start()
        seen: set[str] = set()
        reached = interrupted(
            lambda channel=channel, seen=seen: seen.update(channel.ownership.tags()),
            line,
            lambda channel=channel: move(channel),
        )
        if not reached:
            assert line > 3
            return
        assert TAG in seen, line


@MOVES
def test_the_thread_reads_while_the_loop_moves_a_message(
    start: Callable[[], Channel], move: Callable[[Channel], None]
) -> None:
    """
    Wherever the loop is interrupted, the message is in one of the places that the thread reads.
    """
    for line in count():
        channel = start()
        seen: set[str] = set()
        reached = interrupted(
            lambda channel=channel: move(channel),
            line,
            lambda channel=channel, seen=seen: seen.update(channel.ownership.tags()),
        )
        if not reached:
            assert line > 0
            return
        assert TAG in seen, line
