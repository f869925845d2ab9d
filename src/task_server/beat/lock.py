"""
The lock in Redis that lets one beat send at a time, and the times of what was sent.

The lock is a hash with a token that only its holder knows; it expires seconds after the
holder's death, by the server's clock. Before each task is sent, one script compares the
token and records the run: a beat that was stopped for too long, and goes on, finds
another's token and sends nothing. Who takes over reads the runs, also on another host,
so that nothing is sent twice for one time of its schedule. A run that was recorded by a
beat that died before it sent is not made up for.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from redis.exceptions import RedisError

from task_server.transport.store.keys import Keys
from task_server.transport.store.scripts import (
    BEAT_ACQUIRE,
    BEAT_HOLD,
    BEAT_RELEASE,
    BEAT_RUNS,
    Script,
)

#: Seconds after which the times of a schedule that nobody runs are forgotten: above a year,
#: the longest time between two runs of a crontab.
RUNS_SECONDS = 400 * 86_400


#: The keys of a script, by the name of the lock.
_NameOf = Callable[[Keys, str], str]
_LOCK: tuple[_NameOf, ...] = (Keys.beat,)
_RUNS: tuple[_NameOf, ...] = (Keys.beat_runs,)


class LockError(Exception):
    """Redis did not answer, or refuses; *cause* is what its client raised."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lock: its host and process, and since when (seconds since 1970)."""

    host: str
    pid: str
    since: float

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.since).astimezone().isoformat(timespec="seconds")
        return f"pid {self.pid} on {self.host} has sent since {when}"


class Client(Protocol):
    """A connection to the broker; it is opened when it is first needed."""

    def open(self) -> tuple[Any, Keys]:
        """Return a client of the present primary, that adds no prefix, and the complete keys."""

    def close(self) -> None:
        """Close it; the next `open` connects anew."""


class Lock:
    """
    The lock *name* on the broker that *client* leads to.

    Args:
        seconds: After which it expires if it is not renewed.
    """

    def __init__(self, client: Client, name: str, seconds: float) -> None:
        self.seconds = seconds
        self._client = client
        self._name = name
        self._token = uuid.uuid4().hex
        self._milliseconds = int(seconds * 1000)

    def acquire(self) -> Holder | None:
        """
        Take the lock; return who has it, or None if it is ours now.

        Raises:
            LockError: When Redis does not answer, or refuses.
        """
        host, pid = socket.gethostname(), str(os.getpid())
        answer = self._run(BEAT_ACQUIRE, _LOCK, (self._token, self._milliseconds, host, pid))
        if answer[0]:
            return None
        host, pid, since = (_text(part) for part in answer[1:])
        return Holder(host, pid, _number(since))

    def hold(self, *entries: str) -> float | None:
        """
        Renew the lock, and record that *entries* are about to be sent.

        Returns:
            The server's time in seconds since 1970; None if the lock is not ours any more.

        Raises:
            LockError: When Redis does not answer, or refuses.
        """
        arguments = (self._token, self._milliseconds, RUNS_SECONDS * 1000, *entries)
        answer = self._run(BEAT_HOLD, _LOCK + _RUNS, arguments)
        return None if answer is None else _number(_text(answer)) / 1e6

    def runs(self) -> dict[str, float]:
        """
        Return when each entry was last sent, in seconds since 1970 by the server's clock.

        Raises:
            LockError: When Redis does not answer, or refuses.
        """

        def read(client: Any, keys: Keys) -> list[tuple[Any, Any]]:
            return list(client.hscan_iter(keys.beat_runs(self._name), count=1000))

        found = self._do(read)
        return {_text(name): _number(_text(value)) / 1e6 for name, value in found}

    def add_runs(self, runs: Mapping[str, float]) -> None:
        """
        Record *runs* that a server which lost its data may not know.

        Raises:
            LockError: When Redis does not answer, or refuses.
        """
        if runs:
            pairs = [part for name, at in runs.items() for part in (name, str(int(at * 1e6)))]
            self._run(BEAT_RUNS, _RUNS, (RUNS_SECONDS * 1000, *pairs))

    def clock(self) -> float:
        """
        Return how far the server's clock is ahead of ours, in seconds.

        Raises:
            LockError: When Redis does not answer, or refuses.
        """
        seconds, micros = self._do(lambda client, _: client.time())
        return float(seconds) + float(micros) / 1e6 - time.time()

    def release(self) -> None:
        """
        Give the lock up, if it is ours.

        Raises:
            LockError: When Redis does not answer, or refuses.
        """
        self._run(BEAT_RELEASE, _LOCK, (self._token,))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _run(self, script: Script, names: Iterable[_NameOf], arguments: Iterable[Any]) -> Any:
        def run(client: Any, keys: Keys) -> Any:
            found = tuple(name_of(keys, self._name) for name_of in names)
            return script.run(client, found, tuple(arguments))

        return self._do(run)

    def _do(self, call: Callable[[Any, Keys], Any]) -> Any:
        try:
            return call(*self._client.open())
        except (RedisError, OSError) as error:
            # The next attempt connects anew: to a new primary, too.
            self._client.close()
            raise LockError(error) from error


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
