"""
The methods of Kombu that the transport overrides or calls, and their sources.

    python tests/unit/transport/fingerprints.py

prints them for the installed Kombu, to be put into fingerprints.json once a
person has read what changed.
"""

import hashlib
import importlib
import inspect
import json
from pathlib import Path

TABLE = Path(__file__).with_suffix(".json")

#: By module and class. What is overridden must still be called as it was, and
#: what is called must still do what it did.
METHODS = {
    ("kombu.transport.redis", "Channel"): (
        *("__init__", "basic_consume", "basic_cancel", "_basic_cancel", "_update_queue_cycle"),
        *("_brpop_start", "_brpop_read", "_poll_error", "_connparams", "close", "_q_for_pri"),
        *("_create_client", "_get_pool", "_on_connection_disconnect", "_disconnect_pools"),
        *("_after_fork", "conn_or_acquire", "_do_restore_message", "_put", "active_queues"),
    ),
    ("kombu.transport.redis", "QoS"): (
        *("__init__", "append", "ack", "reject", "restore_visible", "restore_by_tag"),
        *("restore_unacked", "pipe_or_acquire", "_remove_from_indices"),
    ),
    ("kombu.transport.redis", "MultiChannelPoller"): (
        *("__init__", "close", "on_poll_start", "on_poll_init", "get", "handle_event"),
        *("on_readable", "fds", "maybe_restore_messages", "_register", "_client_registered"),
        *("_register_BRPOP", "_on_connection_disconnect"),
    ),
    ("kombu.transport.redis", "Transport"): ("__init__", "register_with_event_loop", "on_readable"),
    ("kombu.transport.virtual.base", "QoS"): (
        *("can_consume", "can_consume_max_estimate", "append", "ack", "reject", "_flush"),
        "restore_unacked_once",
    ),
    ("kombu.transport.virtual.base", "Channel"): (
        *("basic_consume", "basic_cancel", "basic_ack", "basic_reject", "close", "_lookup"),
        "_get_message_priority",
    ),
    ("kombu.transport.virtual.base", "Transport"): (
        *("drain_events", "_deliver", "_reject_inbound_message", "close_connection"),
    ),
    ("kombu.utils.scheduling", "round_robin_cycle"): ("consume", "rotate"),
}


def fingerprints() -> dict[str, str]:
    """Return the SHA-256 of the source of each method of the installed Kombu."""
    found = {}
    for (module, name), methods in METHODS.items():
        owner = getattr(importlib.import_module(module), name)
        for method in methods:
            member = inspect.getattr_static(owner, method)
            function = member.fget if isinstance(member, property) else getattr(owner, method)
            source = inspect.getsource(function)
            found[f"{module}.{name}.{method}"] = hashlib.sha256(source.encode()).hexdigest()
    return found


if __name__ == "__main__":
    import kombu

    print(json.dumps({kombu.__version__: fingerprints()}, indent=2))
