"""
Which messages' tasks have begun: told to Redis for whoever finds their worker dead.

A set of delivery tags for each process of a worker, beside the unacked messages.

A message that nobody has died of is told of with the signs of life, if its task
still runs then. That costs nothing, and is too late for a task that kills its
worker at once. What a dead worker held comes back *marked*: its payload has
`deaths`, even if it is an empty list. While a marked message runs, its worker
tells of every begin before the task runs, and of every end, of messages that are
not marked too; the member `*` says so. The tag whose task has the processor has
`>` before it, where the pool knows that. Who died of what: see `blame`.

A begin waits until it is sent: if the connection is just being made, so long. If
Redis is away tasks run all the same; the next word, or sign of life, then tells
everything anew.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from kombu.utils.encoding import bytes_to_str

from task_server.transport.started.connection import Teller
from task_server.transport.started.crashes import CERTAIN, ON_CPU, Blame, blame
from task_server.transport.started.tasks import Command, Told
from task_server.transport.store import owner as holder

logger: Final = logging.getLogger(__name__)

#: Seconds beyond the visibility time-out for which a dead worker's set is kept.
KEPT: Final = 86400


def key_of(unacked_key: str, run: str) -> str:
    """Return the key of the process *run* beside the complete *unacked_key*."""
    return f"{unacked_key}.begun:{run}"


class Telling:
    """
    Tells of the tasks whose messages came by one channel.

    Args:
        channel: The channel.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._teller: Teller | None = None

    @property
    def told(self) -> Told:
        """What this process has told; a later connection goes on with it."""
        told: Told = self._channel.late.told
        return told

    def begin(self, tag: str, *, marked: bool = True, on_cpu: bool = False) -> None:
        """
        Tell that the task of *tag* is about to begin; without a server it begins all the same.

        Args:
            marked: Whether its message is marked; if not it is told only
                because a marked one runs.

            on_cpu: Whether it has the processor, and whoever calls tells when not.
        """
        told = self.told
        told.comes(tag, marked=marked)

        def commands(key: str) -> list[Command]:
            found = told.begins(key, tag, self._running)
            if on_cpu and self._teller is not None and self._teller.slips:
                found.append(("SADD", key, ON_CPU + tag))
            return [*found, self._expiry(key)] if found[0][0] == "DEL" else found

        self._say(commands)
        told.add(tag)

    def end(self, tag: str) -> None:
        """Tell that the task of *tag* has ended, if its begin was told."""
        told = self.told
        if tag in told.begun:
            told.remove(tag)
            self._say(lambda key: told.ends(key, tag))

    def on_cpu(self, tag: str, *, on: bool) -> None:
        """Tell whether the task of *tag* has the processor, without waiting for anything."""
        if self._teller is not None and tag in self.told.begun:
            self._teller.slip(("SADD" if on else "SREM", self._key(), ON_CPU + tag))

    def hold(self) -> None:
        """Tell, with a sign of life, which tasks run."""
        told = self.told
        if not (told.begun or self._running()):
            return
        if told.tells_all:
            self._say(lambda key: [*told.look(key, self._running()), self._expiry(key)])
        else:
            key = self._key()
            self._answered([*told.look(key, self._running()), self._expiry(key)])

    def close(self) -> None:
        """Close the connection by which it is told."""
        teller, self._teller = self._teller, None
        if teller is not None:
            teller.close()

    def _running(self) -> set[str]:
        return set(self._channel.qos.running())

    def _key(self) -> str:
        return key_of(self._channel.unacked_keys()[0], holder.RUN)

    def _expiry(self, key: str) -> Command:
        return "EXPIRE", key, int(self._channel.qos.visibility_timeout) + KEPT

    def _say(self, commands: Callable[[str], list[Command]]) -> None:
        channel, told = self._channel, self.told
        if channel.closed or channel.connection is None or channel.connection.client is None:
            told.failed()
            return
        if self._teller is None:
            self._teller = Teller(channel.client.connection_pool)
        key = self._key()
        try:
            if not self._teller.tell(lambda: commands(key)):
                self._answered(commands(key))
        except (*channel.connection_errors, channel.ResponseError) as error:
            told.failed()
            logger.debug("Redis did not hear that a task begins or ends: %s", error)

    def _answered(self, commands: list[Command]) -> None:
        try:
            with self._channel.bare_client().pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                pipe.execute()
        except BaseException:
            self.told.failed()
            raise


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
        self._told: dict[str, set[str]] = {}

    def blame(self, tag: str, held_by: Mapping[str, Any], *, marked: bool) -> Blame | None:
        """
        Return how far the message *tag* is to blame for the death of *held_by*; None if not.

        A holder without `run` does not tell: each message that it held counts in full.
        """
        run = held_by.get("run")
        if not run:
            return CERTAIN
        if run not in self._told:
            members = self._client.smembers(key_of(self._unacked_key, run))
            self._told[run] = {bytes_to_str(member) for member in members}
        return blame(tag, self._told[run], marked=marked)
