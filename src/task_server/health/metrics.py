"""Do the metrics answer, and does the Redis that they read?"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from task_server.health import http
from task_server.health.verdict import Verdict

if TYPE_CHECKING:
    from task_server.config.model import Config
    from task_server.launch.timing import Timing

#: Seconds to wait for an answer.
TIMEOUT = 5.0

PATH = "/healthz"


class Table(Protocol):
    """Where they listen, as `task_server.config.tables.MetricsConfig` has it."""

    @property
    def address(self) -> str: ...

    @property
    def port(self) -> int: ...


def check(
    config: "Config",
    name: str,
    environ: Mapping[str, str],
    *,
    ready: bool,
    timing: "Timing",
) -> Verdict:
    """
    Return the verdict on the metrics that *config* describes.

    Args:
        ready: Ask for Redis too; otherwise metrics that answer are ready.
    """
    del name, environ, timing  # They write no heartbeat.
    return ask(config.metrics, ready=ready)


def ask(table: Table, *, ready: bool) -> Verdict:
    """Return the verdict on the metrics that listen where *table* says."""
    if not table.port:
        reason = "metrics.port is 0, so its port is unknown; set metrics.port to a number"
        return Verdict(alive=False, ready=False, reason=reason)
    host = http.reachable(table.address)
    where = http.authority(host, table.port)
    found = _page(host, table.port, where)
    if isinstance(found, str):
        return Verdict(alive=False, ready=False, reason=found)
    redis = found.get("redis")
    if ready and not (isinstance(redis, dict) and redis.get("answers")):
        reason = str(redis.get("reason")) if isinstance(redis, dict) else "says nothing of Redis"
        return Verdict(alive=True, ready=False, reason=reason)
    return Verdict(alive=True, ready=True, reason=f"answers at {where}")


def _page(host: str, port: int, where: str) -> dict[str, object] | str:
    """Return what they say of themselves, or why they do not answer."""
    try:
        status, body = http.get(host, port, PATH, TIMEOUT)
    except TimeoutError:
        return f"no answer from {where} within {TIMEOUT:g} s"
    except (OSError, ValueError) as error:
        return f"no answer from {where} ({error})"
    if status != 200:  # noqa: PLR2004 - HTTP's OK
        return f"{where} answers with {status}"
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return f"{where} answers with something else"
    return said if isinstance(said, dict) else f"{where} answers with something else"
