"""
The workers, as each says of itself: a hash, by run, under the name of the unacked messages.

A worker registers again every few seconds; `at` is the server's time of that.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from task_server.transport.store import statistics
from task_server.transport.store.keys import Keys
from task_server.transport.store.portions import scanned
from task_server.transport.store.scripts import REGISTER, Argument
from task_server.transport.store.statistics import Batch

#: Seconds after which a worker that has been silent is forgotten.
FORGET: Final = 86_400


@dataclass(frozen=True, slots=True)
class Registered:
    """
    What a worker said of itself.

    Attributes:
        run: The random id of its process, as in the entries of its messages.

        at: When, in seconds since 1970, by the server's clock.

        values: Whatever it said: anyone can write one.
    """

    run: str
    at: float
    values: Mapping[str, Any]


def register(
    client: Any,
    keys: Keys,
    run: str,
    values: Mapping[str, Any],
    *,
    batch: Batch | None = None,
    lengths: Mapping[str, int] | None = None,
    first: bool = False,
) -> None:
    """
    Register the worker *run*; the *first* time those that are long gone are removed.

    Args:
        client: A Redis client that adds no prefix.

        values: At least one; JSON.

        batch: What it has finished, to be added to the statistics, once.

        lengths: Messages that wait, by queue, to be noted there.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    text = json.dumps(values)
    added = statistics.arguments(keys, batch, lengths or {})
    own: list[Argument] = [run, text.partition("{")[2], int(first), FORGET]
    REGISTER.run(client, [keys.workers], [*own, *added])


def remove(client: Any, keys: Keys, run: str) -> None:
    """Remove the worker *run*, which ends."""
    client.hdel(keys.workers, run)


def all_of(client: Any, keys: Keys) -> list[Registered]:
    """Return the registered workers; those that cannot be read are left out."""
    found = {}
    for page in scanned(client, keys.workers):
        for run, text in page.items():
            one = _read(run.decode("utf-8", "replace"), text)
            if one is not None:
                found[one.run] = one
    return list(found.values())


def _read(run: str, text: bytes) -> Registered | None:
    try:
        values = json.loads(text)
        at = float(values.pop("at"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    return Registered(run, at, values) if isfinite(at) else None
