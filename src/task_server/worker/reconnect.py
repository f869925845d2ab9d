"""A worker that outlives its connection to Redis."""

from typing import Any

from kombu.transport import redis


def outlive_closed_transport() -> None:
    """
    Keep Celery from ending when Redis restarts while messages are unacknowledged.

    Celery closes a lost connection twice. If Redis is still down the first
    time stops half-way, with the transport's client gone and the channel not
    yet closed; the second then asks the missing client for its host name:
    "Unrecoverable error: AttributeError 'NoneType' object has no attribute
    'hostname'". Without a client nothing can be put back; the messages stay
    registered as unacked, and are restored after the visibility timeout.
    """
    restore_unacked = redis.QoS.restore_unacked

    def restore_if_connected(self: Any, client: Any = None) -> Any:
        transport = self.channel.connection
        if transport is None or transport.client is None:
            self._delivered.clear()
            return None
        return restore_unacked(self, client)

    redis.QoS.restore_unacked = restore_if_connected
