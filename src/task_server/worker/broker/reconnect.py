"""
A worker that outlives its connection to Redis, and so do its tasks.

Celery closes a lost connection, and with it the channel that received the messages.
Their fate without this module:

- A task that continues is acknowledged through the closed channel, which reads
  the address of the missing connection: "Unrecoverable error: AttributeError
  'NoneType' object has no attribute 'hostname'" (or 'client'), and the worker
  ends. The same happens when the connection is closed a second time, as
  Celery does, while messages are unacknowledged.
- If Redis answers again by then, the messages of running tasks are requeued as
  well, and these tasks run twice.
- If it does not, the messages that wait in the worker stay registered as
  unacked until the visibility timeout, an hour or more.

Acknowledging and requeueing need the message's tag and any connection. So pending
acks and requeues go out on the next connection.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis, virtual
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from task_server.worker.patching import patch

logger = logging.getLogger(__name__)


class PendingAcks:
    """
    Acks and requeues for messages of lost connections, which the next one sends.

    Args:
        running: Returns the delivery tags of the messages whose tasks run.

        release_claims: Releases the chords that requests have claimed.
    """

    def __init__(
        self,
        running: Callable[[], set[str]],
        release_claims: Callable[[Iterable[Any]], None],
    ) -> None:
        self._running = running
        self._release_claims = release_claims
        self._acknowledge: list[str] = []
        self._restore: list[str] = []
        self._channel: Any = None

    def attach(self, channel: Any) -> None:
        """Use *channel*, which is connected, and flush through it."""
        self._channel = channel
        self._flush(channel)

    def _flush(self, channel: Any) -> None:
        while self._acknowledge:
            channel.qos._remove_from_indices(self._acknowledge[-1]).execute()  # noqa: SLF001
            self._acknowledge.pop()
        restored = len(self._restore)
        while self._restore:
            channel.qos.restore_by_tag(self._restore[-1])
            self._restore.pop()
        if restored:
            logger.info("%d tasks of the lost connection are requeued", restored)

    def detach(self) -> None:
        """Drop the connection until the next `attach`; keep what it has not requeued."""
        channel, self._channel = self._channel, None
        if channel is None or _is_open(channel):
            return
        # Up to Kombu 5.6 reading the last answer fails, and ends the closing early.
        delivered, dirty = channel.qos._delivered, channel.qos._dirty  # noqa: SLF001
        running = self._running()
        self._restore.extend(tag for tag in delivered if tag not in dirty | running)
        delivered.clear()

    def requeue(self, request: Any) -> None:
        """Requeue the message of *request*, whose task has ended."""
        request.acknowledged = True
        self._release_claims([request])
        message, channel = request.message, self._channel
        tag = message.delivery_tag
        # Its own channel must not requeue it as well.
        virtual.QoS.ack(message.channel.qos, tag)
        errors = (*message.channel.connection_errors, RedisError)
        if channel is None or not _is_open(channel) or not _restored(channel, tag, errors):
            pending = getattr(message.channel, "pending", None)
            if pending is None:
                self._restore.append(tag)
            else:
                pending.restores.append((tag, time.monotonic()))
        logger.info("%s[%s] was cancelled and is requeued", request.name, request.id)

    @property
    def is_lost(self) -> bool:
        """Whether the connection of the last `attach` is gone."""
        return self._channel is not None and not _is_open(self._channel)

    def install(self) -> None:
        """
        Replace three methods of Kombu's Redis transport.

        The atomic transport does this itself, and only needs to know what runs.
        """
        channel: Any = redis.Channel
        qos: Any = redis.QoS
        patch(channel, "conn_or_acquire", _through_next(channel.conn_or_acquire, self))
        patch(qos, "ack", self._later(qos.ack))
        patch(qos, "restore_unacked", self._restore_unacked)

    def client(self) -> Any:
        """
        Return a client of the current connection.

        Raises:
            ConnectionError: Redis-py's, when there is none.
        """
        if self._channel is None or not _is_open(self._channel):
            raise RedisConnectionError("the connection is lost and there is no new one yet")
        return self._channel._create_client()  # noqa: SLF001

    def _later(self, ack: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
        pending_acks = self

        def acknowledge(self: Any, delivery_tag: str) -> None:
            try:
                ack(self, delivery_tag)
            except self.channel.connection_errors as error:
                logger.info("an acknowledgement waits for Redis: %s", error)
                pending_acks._acknowledge.append(delivery_tag)
                virtual.QoS.ack(self, delivery_tag)

        return acknowledge

    @property
    def _restore_unacked(self) -> Callable[..., None]:
        pending_acks = self

        def restore_unacked(self: Any, client: Any = None) -> None:
            running = pending_acks._running()
            waiting = [tag for tag in self._delivered if tag not in running]
            self._delivered.clear()
            while waiting:
                try:
                    self.restore_by_tag(waiting[-1], client=client)
                except self.channel.connection_errors:
                    pending_acks._restore.extend(waiting)
                    return
                waiting.pop()

        return restore_unacked


def _through_next(conn_or_acquire: Any, pending_acks: PendingAcks) -> Any:
    @contextmanager
    def conn_or_next(self: Any, client: Any = None) -> Iterator[Any]:
        if client or _is_open(self):
            with conn_or_acquire(self, client) as usable:
                yield usable
        else:
            yield pending_acks.client()

    return conn_or_next


def _restored(channel: Any, tag: str, errors: tuple[type[Exception], ...]) -> bool:
    try:
        channel.qos.restore_by_tag(tag)
    except errors as error:
        logger.info("a requeue waits for Redis: %s", error)
        return False
    return True


def _is_open(channel: Any) -> bool:
    """Whether *channel* still belongs to a connection."""
    return channel.connection is not None and channel.connection.client is not None
