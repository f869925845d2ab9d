"""Which queue a task came from, by what its message says: a child of a pool has nothing else."""

from typing import Any, Final

#: Pairs of exchange and routing key that are remembered.
MOST: Final = 1_000

#: Names that this process does not consume, as far as it knows: a child does not hear of queues
#: that are added later. A producer can write any.
STRANGE: Final = 16


class QueueNames:
    """Finds the queue of a message; '' where it cannot be told."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._strange: set[str] = set()

    def of(self, delivery_info: Any, app: Any) -> str:
        """
        Return the queue of a message.

        Args:
            delivery_info: As Celery's requests have it; whoever sent it may have written anything.

            app: The app of its task.
        """
        info = delivery_info if isinstance(delivery_info, dict) else {}
        exchange, key = info.get("exchange") or "", info.get("routing_key")
        if not isinstance(exchange, str) or not isinstance(key, str):
            return ""
        found = self._known.get((exchange, key))
        return self._find(exchange, key, app) if found is None else found

    def _find(self, exchange: str, key: str, app: Any) -> str:
        consumed = app.amqp.queues.consume_from
        name = _bound(exchange, key, consumed) or key
        if name in consumed:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[exchange, key] = name
            return name
        if len(self._strange) < STRANGE:
            self._strange.add(name)
        return name if name in self._strange else ""


def _bound(exchange: str, key: str, consumed: Any) -> str:
    """Return the queue of *consumed* to which *exchange* routes *key*; '' if several may be."""
    if not exchange:
        return key
    bound = {
        name: queue
        for name, queue in list(consumed.items())
        if getattr(queue.exchange, "name", None) == exchange
    }
    exact = [name for name, queue in bound.items() if queue.routing_key == key]
    names = exact or list(bound)
    return names[0] if len(names) == 1 else ""
