"""
A Redis transport for Kombu that loses no message with a killed worker.

Kombu's own takes a message from its list and registers it as unacked in a
second call; a worker killed between the two loses it, late acknowledgement or
not. Here a script on the server does both. Lists, hash, sorted set and
messages are Kombu's: producers and workers with Kombu's transport go on, on
the same queues.
"""

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Final

from task_server.transport.hooks import Hooks, set_hooks
from task_server.transport.store.owner import set_node_name
from task_server.transport.versions import problem

__all__ = ["Hooks", "TransportWarning", "install", "installed", "problem", "uninstall"]

#: The schemes of a broker URL, Kombu's class for each, and ours.
ALIASES: Final = {
    "redis": "task_server.transport.transport:Transport",
    "rediss": "task_server.transport.transport:Transport",
    "sentinel": "task_server.transport.transport:SentinelTransport",
}

#: A process without a worker.
NO_HOOKS: Final = Hooks()

_kombu: dict[str, str] = {}


class TransportWarning(UserWarning):
    """Warns that Kombu's own transport is used though ours was asked for."""


def install(node: str = "", hooks: Hooks = NO_HOOKS) -> bool:
    """
    Use this transport in this process for broker URLs of Redis.

    Connections made before keep Kombu's. One that only publishes does what it
    always did.

    Args:
        node: The worker's name in the history of its messages, 'NAME@HOST'.

        hooks: What the worker does for the transport.

    Returns:
        Whether it is used. With a Kombu whose private methods are unknown it
        is not, and a TransportWarning says so.
    """
    reason = problem()
    if reason is not None:
        warnings.warn(
            f"{reason}; this worker uses Kombu's own Redis transport, which loses a message if it "
            "is killed between taking and registering it",
            TransportWarning,
            stacklevel=2,
        )
        return False
    from kombu.transport import TRANSPORT_ALIASES  # noqa: PLC0415 - the launcher imports no Kombu

    for scheme in ALIASES:
        _kombu.setdefault(scheme, TRANSPORT_ALIASES[scheme])
    _replace(ALIASES)
    set_node_name(node)
    set_hooks(hooks)
    return True


def installed() -> bool:
    """Return whether `install` was called, and did."""
    return bool(_kombu)


def uninstall() -> None:
    """Undo `install` for connections to come."""
    _replace(_kombu)
    _kombu.clear()
    set_hooks(NO_HOOKS)


def _replace(classes: Mapping[str, str]) -> None:
    """Let Kombu find *classes*, by scheme, instead of those that it has found before."""
    # Not at the top: the launcher imports no Kombu.
    transport = import_module("kombu.transport")
    transport.TRANSPORT_ALIASES.update(classes)
    for scheme in classes:
        transport._transport_cache.pop(scheme, None)  # noqa: SLF001 - there is no other way
