"""Where a message goes that does not say which list it was taken from: by Kombu's bindings."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from redis.exceptions import ResponseError

from task_server.monitor.queues import SEPARATOR
from task_server.transport.store.keys import Keys


class Bindings:
    """The queues that are bound in one Redis, each exchange read once; see `unacked.routes`."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._members = cache(self._read)

    def queues_of(self, exchange: Any, routing_key: Any) -> Sequence[str]:
        """Return the queues that are bound to *exchange* with *routing_key*."""
        key = str(routing_key or "")
        if not exchange:
            return [key] if key else []
        found = [
            queue
            for one, pattern, queue in self._members(str(exchange))
            if key == one or _fits(pattern, key)
        ]
        return list(dict.fromkeys(found))

    def priority_of(self, payload: Any) -> int:
        """Return the priority of the message *payload*, as Kombu does."""
        try:
            return max(0, min(int(payload["properties"]["priority"]), 9))
        except (KeyError, TypeError, ValueError, OverflowError):
            return 0

    def _read(self, exchange: str) -> list[tuple[str, str, str]]:
        try:
            members = self._client.smembers(self._keys.binding_of(exchange))
        except ResponseError:
            return []
        parts = [one.decode("utf-8", "replace").split(SEPARATOR.decode()) for one in members]
        return [(one[0], one[1], one[2]) for one in parts if len(one) == 3]  # noqa: PLR2004


def _fits(pattern: str, key: str) -> bool:
    """Return whether *key* fits the *pattern* of a topic exchange, which Kombu wrote as one."""
    try:
        return bool(pattern) and re.match(pattern, key) is not None
    except re.error:
        return False
