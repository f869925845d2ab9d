"""
A worker that outlives its connection to Redis, and so do its tasks.

Celery closes a lost connection, and the channel that took the messages with
it. What then happens to them is not what one would wish:

- A task that runs on is acknowledged through the closed channel, which asks
  the missing connection for its address: "Unrecoverable error: AttributeError
  'NoneType' object has no attribute 'hostname'" (or 'client'), and the worker
  ends. The same happens when the connection is closed a second time, as
  Celery does, while messages are unacknowledged.
- If Redis answers again by then, the messages of tasks that still run are put
  back as well, and these tasks run twice.
- If it does not, the messages that wait in the worker stay registered as
  unacked until the visibility timeout, an hour or more.

An acknowledgement, and the way back to the queue, need the message's tag and
any connection. So here what is owed is paid through the next one.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis, virtual
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from task_server.worker.patches import patch

logger = logging.getLogger(__name__)


class PendingAcks:
    """
    What this worker owes Redis for messages of connections that are gone.

    Args:
        running: Returns the delivery tags of the messages whose tasks run now.
    """

    def __init__(self, running: Callable[[], set[str]]) -> None:
        self._running = running
        self._acknowledge: list[str] = []
        self._restore: list[str] = []
        self._channel: Any = None

    def attach(self, channel: Any) -> None:
        """Pay through *channel*, which is connected, and use it from now on."""
        self._channel = channel
        while self._acknowledge:
            channel.qos._remove_from_indices(self._acknowledge[-1]).execute()  # noqa: SLF001
            self._acknowledge.pop()
        restored = len(self._restore)
        while self._restore:
            channel.qos.restore_by_tag(self._restore[-1])
            self._restore.pop()
        if restored:
            logger.info("%d tasks of the lost connection are back in their queues", restored)

    def detach(self) -> None:
        """Do without a connection until the next `attach`, and remember what was not restored."""
        channel, self._channel = self._channel, None
        if channel is None or _is_open(channel):
            return
        # Up to Kombu 5.6 the attempt to read the last answer ends the closing.
        delivered, dirty = channel.qos._delivered, channel.qos._dirty  # noqa: SLF001
        running = self._running()
        self._restore.extend(tag for tag in delivered if tag not in dirty | running)
        delivered.clear()

    def requeue(self, request: Any) -> None:
        """Put the message of *request*, which nothing runs any more, back to its queue."""
        request.acknowledged = True
        message, channel = request.message, self._channel
        tag = message.delivery_tag
        # The channel that it came by has nothing to do with it any more.
        virtual.QoS.ack(message.channel.qos, tag)
        errors = (*message.channel.connection_errors, RedisError)
        if channel is None or not _is_open(channel) or not _restored(channel, tag, errors):
            pending = getattr(message.channel, "pending", None)
            if pending is None:
                self._restore.append(tag)
            else:
                pending.restores.append((tag, time.monotonic()))
        logger.info("%s[%s] was cancelled, and goes back to its queue", request.name, request.id)

    @property
    def is_lost(self) -> bool:
        """Whether the connection of the last `attach` is gone."""
        return self._channel is not None and not _is_open(self._channel)

    def install(self) -> None:
        """
        Fasten this to Kombu's Redis transport, in place of three of its methods.

        The atomic transport does it without this, and asks only what runs.
        """
        channel: Any = redis.Channel
        qos: Any = redis.QoS
        patch(channel, "conn_or_acquire", _through_next(channel.conn_or_acquire, self))
        patch(qos, "ack", self._later(qos.ack))
        patch(qos, "restore_unacked", self._restore_unacked)

    def client(self) -> Any:
        """
        Return a client of the present connection.

        Raises:
            ConnectionError: Redis-py's; when there is none.
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
        logger.info("a message waits for Redis on its way back: %s", error)
        return False
    return True


def _is_open(channel: Any) -> bool:
    """Whether *channel* still belongs to a connection."""
    return channel.connection is not None and channel.connection.client is not None
