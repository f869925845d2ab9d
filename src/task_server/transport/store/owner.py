"""
Who holds a message: written into its entry among the unacked, by the fetch.

Kombu reads an entry, and writes what it restores, as JSON; a key beside those
that it knows does it no harm.
"""

import json
import os
from functools import cache
from socket import gethostname
from typing import Final
from uuid import uuid4

#: What the fetch writes before the holder. Kombu's JSON has a space after the
#: colon: an entry that Kombu wrote, of a message that was held here once, is
#: not taken for one of ours, whose worker gives signs of life.
MARK: Final = b'"holder":{'


#: This process among all that ever held a message; pids of containers repeat.
RUN: Final = uuid4().hex


class _Node:
    name = ""


def call(name: str) -> None:
    """Let this process be known as the node *name*, such as 'prefork@host'."""
    _Node.name = name


def node() -> str:
    """Return the name of this process's node."""
    return _Node.name or _nameless()


@cache
def _nameless() -> str:
    return f"celery@{gethostname()}"


def described(taken: float, *, tells: bool, lease: float = 0) -> str:
    """
    Return this process as a holder since *taken*, seconds: JSON, without its opening brace.

    Only one that *tells* which tasks have begun has a `run`, or one with a
    *lease*, in seconds: who wants to know whether that is over looks for both.
    """
    run = f', "run": "{RUN}"' if tells or lease else ""
    until = f', "lease": {lease:g}' if lease else ""
    return f'{_process(node(), os.getpid())}, "taken": {taken!r}{run}{until}}}'


@cache
def _process(name: str, pid: int) -> str:
    return f'"node": {json.dumps(name)}, "pid": {pid}'


def written(taken: float, *, tells: bool, lease: float = 0) -> str:
    """Return what the fetch that described this process so has written into entries."""
    return f"{MARK.decode()}{described(taken, tells=tells, lease=lease)}"
