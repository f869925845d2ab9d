"""The server, as it describes itself."""

from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from task_server.monitor.model import Broker
from task_server.transport.store.keys import Keys


def broker(client: Any, keys: Keys) -> Broker:
    """
    Return the server of *client*.

    Raises:
        ResponseError: When the user may not ask.
    """
    info = client.info()
    product = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "")
    return Broker(
        product=f"{product} {version}",
        role=str(info.get("role", "")),
        memory=_number(info, "used_memory"),
        max_memory=_number(info, "maxmemory"),
        policy=str(info.get("maxmemory_policy", "")),
        is_persistent=bool(info.get("aof_enabled")) or _saves(client),
        clients=_number(info, "connected_clients"),
        max_clients=_number(info, "maxclients"),
        last_scan=_last_scan(client, keys),
    )


def _saves(client: Any) -> bool | None:
    """Whether the server saves snapshots by itself; None if the user may not ask."""
    try:
        return bool(client.config_get("save").get("save"))
    except ResponseError:
        return None


def _last_scan(client: Any, keys: Keys) -> float | None:
    try:
        found = client.hgetall(keys.scans)
    except ResponseError:
        return None
    times = [float(value) for name, value in found.items() if name.startswith(b"last")]
    return max(times, default=None)


def _number(info: Mapping[str, Any], name: str) -> int | None:
    value = info.get(name)
    return int(value) if isinstance(value, int | float) else None
