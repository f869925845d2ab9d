"""
Does Flower answer, and does the broker that it watches?

Flower's own page `/healthcheck` says OK even while Redis is down, so the
broker is pinged separately.
"""

from collections.abc import Mapping
from typing import Any

from task_server.config.model import Config
from task_server.config.tables import FlowerConfig
from task_server.health.verdict import Verdict
from task_server.launch.timing import Timing

#: Seconds to wait for Flower's answer.
TIMEOUT = 5.0

#: Seconds to wait for a connection to the broker, and again for its answer.
BROKER_TIMEOUT = 2.0


def check(
    config: Config,
    name: str,
    environ: Mapping[str, str],
    *,
    ready: bool,
    timing: Timing,
) -> Verdict:
    """
    Return the verdict on the Flower that *config* describes.

    Args:
        ready: Ping the broker too; otherwise a Flower that answers is ready.
    """
    del name, environ, timing  # It writes no heartbeat.
    reason = _page_error(config.flower)
    if reason:
        return Verdict(alive=False, ready=False, reason=reason)
    reason = _broker_error(config.broker_url) if ready else ""
    if reason:
        return Verdict(alive=True, ready=False, reason=reason)
    return Verdict(alive=True, ready=True, reason=f"answers at {_where(config.flower)}")


def _where(flower: FlowerConfig) -> str:
    host = f"[{_host(flower)}]" if ":" in _host(flower) else _host(flower)
    return f"{host}:{flower.port}{_path(flower)}"


def _host(flower: FlowerConfig) -> str:
    """Return the address to connect to: loopback if Flower listens on every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(flower.address, flower.address)  # noqa: S104 - compared


def _path(flower: FlowerConfig) -> str:
    prefix = flower.url_prefix.strip("/")
    return f"/{prefix}/healthcheck" if prefix else "/healthcheck"


def _page_error(flower: FlowerConfig) -> str:
    """Return why Flower does not answer; empty if it does."""
    if not flower.port:
        return "flower.port is 0, so its port is unknown; set flower.port to a number"
    # Checks of workers are far more frequent and do not need it.
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415

    connection = HTTPConnection(_host(flower), flower.port, timeout=TIMEOUT)
    try:
        connection.request("GET", _path(flower))
        status = connection.getresponse().status
    except TimeoutError:
        return f"no answer from {_where(flower)} within {TIMEOUT:g} s"
    except (OSError, HTTPException) as error:
        return f"no answer from {_where(flower)} ({error})"
    finally:
        connection.close()
    return "" if status == 200 else f"{_where(flower)} answers with {status}"  # noqa: PLR2004 - HTTP's OK


def _broker_error(url: str | None) -> str:
    """Return why the broker at *url* does not answer; empty if it does."""
    if url is None:
        return (
            "Flower answers, but the broker was not checked: its URL is in the project's settings; "
            "set TASK_SERVER_BROKER_URL"
        )
    from kombu import Connection  # noqa: PLC0415 - only this check needs a client

    from task_server.peers.redis import explain_redis_error  # noqa: PLC0415

    options = {"socket_connect_timeout": BROKER_TIMEOUT, "socket_timeout": BROKER_TIMEOUT}
    try:
        with Connection(url, transport_options=options) as connection:
            # Not `connection.connect()`, which retries for seconds.
            transport: Any = connection.transport
            channel = transport.create_channel(transport)
            try:
                channel.client.ping()
            finally:
                channel.close()
    except Exception as error:  # noqa: BLE001 - any error becomes the reason
        return explain_redis_error("broker_url", url, error).text
    return ""
