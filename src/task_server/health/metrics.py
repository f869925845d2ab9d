"""Do the metrics answer, and does the Redis that they read?"""

import json
from collections.abc import Mapping

from task_server.config.model import Config
from task_server.config.tables import MetricsConfig
from task_server.health.verdict import Verdict
from task_server.launch.timing import Timing

#: Seconds to wait for an answer.
TIMEOUT = 5.0

PATH = "/healthz"


def check(
    config: Config,
    name: str,
    environ: Mapping[str, str],
    *,
    ready: bool,
    timing: Timing,
) -> Verdict:
    """
    Return the verdict on the metrics that *config* describes.

    Args:
        ready: Ask for Redis too; otherwise metrics that answer are ready.
    """
    del name, environ, timing  # They write no heartbeat.
    table = config.metrics
    if not table.port:
        reason = "metrics.port is 0, so its port is unknown; set metrics.port to a number"
        return Verdict(alive=False, ready=False, reason=reason)
    where = f"[{_host(table)}]" if ":" in _host(table) else _host(table)
    where = f"{where}:{table.port}"
    found = _page(table, where)
    if isinstance(found, str):
        return Verdict(alive=False, ready=False, reason=found)
    redis = found.get("redis")
    if ready and not (isinstance(redis, dict) and redis.get("answers")):
        reason = str(redis.get("reason")) if isinstance(redis, dict) else "says nothing of Redis"
        return Verdict(alive=True, ready=False, reason=reason)
    return Verdict(alive=True, ready=True, reason=f"answers at {where}")


def _host(table: MetricsConfig) -> str:
    """Return the address to connect to: loopback if they listen on every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(table.address, table.address)  # noqa: S104 - compared


def _page(table: MetricsConfig, where: str) -> dict[str, object] | str:
    """Return what they say of themselves, or why they do not answer."""
    # Checks of workers are far more frequent and do not need it.
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415

    connection = HTTPConnection(_host(table), table.port, timeout=TIMEOUT)
    try:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        if answer.status != 200:  # noqa: PLR2004 - HTTP's OK
            return f"{where} answers with {answer.status}"
        said = json.loads(answer.read(1_000_000))
    except TimeoutError:
        return f"no answer from {where} within {TIMEOUT:g} s"
    except (ValueError, RecursionError):
        return f"{where} answers with something else"
    except (OSError, HTTPException) as error:
        return f"no answer from {where} ({error})"
    finally:
        connection.close()
    return said if isinstance(said, dict) else f"{where} answers with something else"
