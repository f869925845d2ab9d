"""
The owner of a message: written into its entry among the unacked, by the fetch.

Kombu reads an entry, and writes what it restores, as JSON; a key beside those
that it knows does it no harm.
"""

import json
import os
from functools import cache
from socket import gethostname
from typing import Final
from uuid import uuid4

#: What the fetch writes before the owner. Kombu's JSON has a space after the
#: colon: an entry that Kombu wrote, of a message that was fetched here once, is
#: not taken for one of ours, whose worker renews it.
MARKER: Final = b'"holder":{'


#: A unique id of this process as an owner; pids of containers repeat.
RUN_ID: Final = uuid4().hex


class _Node:
    name = ""


def set_node_name(name: str) -> None:
    """Set the node name of this process, such as 'prefork@host'."""
    _Node.name = name


def node_name() -> str:
    """Return the node name of this process."""
    return _Node.name or _default_name()


@cache
def _default_name() -> str:
    return f"celery@{gethostname()}"


def run_field(run: str) -> str:
    """Return what the process *run* writes into each of its entries that has a lease."""
    return f'"run": "{run}"'


def owner_json(
    fetched_at: float, *, reports: bool, lease: float = 0, pid: int = 0, child: int = 0
) -> str:
    """
    Return this process as an owner since *fetched_at*, seconds: JSON, without its opening brace.

    A *child* that fetches for the process *pid*, its parent, names both by their pids.

    Only one that *reports* which tasks have started has a `run`, or one with a
    *lease*, in seconds: a scan for expired leases needs both.
    """
    run = f", {run_field(RUN_ID)}" if reports or lease else ""
    until = f', "lease": {lease:g}' if lease else ""
    who = _process(node_name(), pid or os.getpid())
    who = f'{who}, "child": {child}' if child else who
    return f'{who}, "taken": {fetched_at!r}{run}{until}}}'


@cache
def _process(name: str, pid: int) -> str:
    return f'"node": {json.dumps(name)}, "pid": {pid}'


def owner_marker(fetched_at: float, *, reports: bool, lease: float = 0) -> str:
    """Return what the fetch of this process has written into entries at *fetched_at*."""
    return f"{MARKER.decode()}{owner_json(fetched_at, reports=reports, lease=lease)}"
