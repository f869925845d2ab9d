"""
Which messages' tasks have begun: told to Redis for whoever finds their worker dead.

A set of delivery tags for each worker process, beside the unacked messages. It
is written with the signs of life, and so too late for a task that kills its
worker at once. Such a task comes back marked: its payload has `deaths`, even if
it is an empty list. Of a marked message the begin is told before its task runs,
so that from the second time on nothing is guessed.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from kombu.utils.encoding import bytes_to_str

#: Seconds beyond the visibility time-out for which a dead worker's set is kept.
KEPT: Final = 86400


def key_of(unacked_key: str, run: str) -> str:
    """Return the key of the process *run* beside the complete *unacked_key*."""
    return f"{unacked_key}.begun:{run}"


def tell(
    client: Any, key: str, seconds: float, *, begun: Collection[str], ended: Collection[str] = ()
) -> None:
    """Add *begun* to the set and take *ended* out; keep it for *seconds* and a day."""
    with client.pipeline() as pipe:
        if begun:
            pipe.sadd(key, *begun)
        if ended:
            pipe.srem(key, *ended)
        pipe.expire(key, int(seconds) + KEPT).execute()


class Inquest:
    """
    Says which messages dead workers may have died of.

    Args:
        client: A Redis client that adds no prefix.

        unacked_key: The complete key of the unacked messages.
    """

    def __init__(self, client: Any, unacked_key: str) -> None:
        self._client = client
        self._unacked_key = unacked_key
        self._begun: dict[str, set[str]] = {}

    def is_suspect(self, tag: str, holder: Mapping[str, Any], *, marked: bool) -> bool:
        """
        Return whether the worker *holder* may have died of the message *tag*.

        If it told of no begun task at all one of those that it held must have
        been the cause: then each is, unless it was *marked*, for it would have
        told of that one. A holder without `run` does not tell.
        """
        run = holder.get("run")
        if not run:
            return True
        if run not in self._begun:
            members = self._client.smembers(key_of(self._unacked_key, run))
            self._begun[run] = {bytes_to_str(member) for member in members}
        begun = self._begun[run]
        return tag in begun or not (begun or marked)
