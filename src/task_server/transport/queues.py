"""What Kombu's channel does with whole queues: their size, purge and deletion, and bindings."""

from typing import Any

from task_server.transport.kombu_redis import redis
from task_server.transport.store import delayed, rights
from task_server.transport.unacked.unacked import Unacked


class QueueChannel(redis.Channel):  # type: ignore[misc]
    """
    A channel that knows of the delayed tasks of a queue.

    Attributes:
        unacked: The part that has the store.
    """

    unacked: Unacked

    def _size(self, queue: str) -> int:
        """
        Return the messages that wait in *queue*, without delayed tasks.

        0 where it is no list, which the fetch will report.
        """
        try:
            return int(super()._size(queue))
        except self.ResponseError as error:
            if rights.is_refusal(error) or "WRONGTYPE" in str(error):
                return 0
            raise

    def _purge(self, queue: str) -> int:
        """Delete the messages of *queue*, and its delayed tasks; return how many."""
        store = self.unacked.store
        return int(super()._purge(queue)) + delayed.drop(store.client, store.keys, queue)

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        """Delete *queue*, and its delayed tasks."""
        super()._delete(queue, *args, **kwargs)
        store = self.unacked.store
        delayed.drop(store.client, store.keys, queue)

    def queue_delete(
        self,
        queue: str,
        if_unused: bool = False,  # noqa: FBT001, FBT002 - Kombu's
        if_empty: bool = False,  # noqa: FBT001, FBT002 - Kombu's
        **kwargs: Any,
    ) -> None:
        """Delete *queue*; one with delayed tasks is not empty."""
        store = self.unacked.store
        if not if_empty or not delayed.counts(store.client, store.keys, [queue])[queue]:
            super().queue_delete(queue, if_unused, if_empty, **kwargs)

    def _queue_bind(self, exchange: str, *args: Any) -> None:
        """
        Bind a queue; if the user may not that is logged, and the queue consumed all the same.

        Kombu's error ends the worker. What is bound already stays so, and what
        Celery sends to a queue needs no binding.
        """
        try:
            super()._queue_bind(exchange, *args)
        except self.ResponseError as error:
            if not rights.is_refusal(error):
                raise
            store = self.unacked.store
            store.problems.optional(store.keys.binding_of(exchange), str(error))
