"""
A channel of Kombu's that keeps its Redis client.

Kombu makes a client for each message, which takes longer than sending it. Here a message takes a
connection from the channel's pool, which knows forks, threads and connections that the server has
closed, and gives it back; the command and its reply go through that connection as they would
through a client.
"""

from functools import cache
from typing import Any

from kombu.utils.json import dumps

from task_server.transport.kombu_redis import redis
from task_server.transport.large import FastBase64
from task_server.transport.versions import problem

#: With one of these redis-py repeats a command that may have been carried out.
_REPEATING = ("retry", "retry_on_timeout", "retry_on_error")


class Publishing:
    """What a channel that publishes does otherwise; mixed into Kombu's, or one that extends it."""

    codecs: Any = {**redis.Channel.codecs, "base64": FastBase64()}

    #: What collects messages instead of sending each (`producer.batch`), if anything does.
    collector: Any = None

    #: What looks at each message that is pushed (`producer.plain`), if anything does.
    observed: Any = None

    def _put(self: Any, queue: str, message: Any, **kwargs: Any) -> Any:
        """Push *message* to the list of *queue* and its priority."""
        # Queues that expire take more commands, and so does a batch of Kombu 5.7.
        if kwargs.get("_publish_batch") is not None or getattr(self, "_expires", None):
            return super()._put(queue, message, **kwargs)  # type: ignore[misc]
        priority = self._get_message_priority(message, reverse=False)
        key = f"{self.global_keyprefix}{self._q_for_pri(queue, priority)}"
        text = dumps(message)
        if self.collector is not None:
            return self.collector.add(key, text)
        pool = self.pool
        if any(pool.connection_kwargs.get(name) for name in _REPEATING):
            return super()._put(queue, message, **kwargs)  # type: ignore[misc]
        if self.observed is not None:
            self.observed.pushed.append((key, text))
        return self.command("LPUSH", key, text)

    def command(self: Any, *words: Any) -> Any:
        """
        Return Redis' answer to a command.

        Whatever goes wrong between the two, the connection is closed, so that nobody reads
        the answer to somebody else's command.
        """
        pool = self.pool
        connection = pool.get_connection()
        try:
            connection.send_command(*words)
            answer = connection.read_response()
        except self.ResponseError:
            # It was read as a whole.
            raise
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
        return answer


@cache
def publishing(transport: type) -> type:
    """
    Return *transport*, a class of Kombu's, with channels that keep their client.

    One that is not Redis, or that puts messages in its own way, is returned as it is.
    """
    if not issubclass(transport, redis.Transport) or problem() is not None:
        return transport
    kind: Any = transport
    channel = kind.Channel
    if channel._put is not redis.Channel._put:  # noqa: SLF001 - what ours does in its place
        return transport
    kept = type(channel.__name__, (Publishing, channel), {})
    return type(transport.__name__, (transport,), {"Channel": kept})
