"""The transports, and how Kombu is given them."""

from typing import Any, ClassVar

from task_server.transport.channel import Channel, SentinelChannel
from task_server.transport.kombu_redis import redis
from task_server.transport.poller import MultiChannelPoller


class Transport(redis.Transport):  # type: ignore[misc]
    """Redis or Valkey, by TCP, TLS or a unix socket."""

    Channel: ClassVar[type] = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = MultiChannelPoller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Join the event loop, with a timer for what both loops must do from time to time."""
        super().register_with_event_loop(connection, loop)
        timeout = connection.client.transport_options.get(
            "visibility_timeout", Channel.visibility_timeout
        )
        self.cycle.join(loop, min(1.0, timeout / 4))


class SentinelTransport(Transport, redis.SentinelTransport):  # type: ignore[misc]
    """Redis behind Sentinel."""

    Channel: ClassVar[type] = SentinelChannel
