"""
Does Flower answer, and does the broker that it watches?

Flower's own page `/healthcheck` says OK whatever becomes of Redis, so the
broker is asked on its own.
"""

from typing import Any

from task_server.config.model import Config, FlowerConfig
from task_server.health.heartbeat import Verdict

#: Seconds that Flower has for its answer.
TIMEOUT = 5.0

#: Seconds that the broker has to accept a connection, and again to answer.
BROKER_TIMEOUT = 2.0

#: The name by which Flower is asked after; no worker may have it.
NAME = "flower"


def check(config: Config, *, broker: bool) -> Verdict:
    """
    Return the verdict on the Flower that *config* describes.

    Args:
        broker: Ask the broker too; without, a Flower that answers is ready.
    """
    trouble = _page(config.flower)
    if trouble:
        return Verdict(alive=False, ready=False, reason=trouble)
    trouble = _broker(config.broker_url) if broker else ""
    if trouble:
        return Verdict(alive=True, ready=False, reason=trouble)
    return Verdict(alive=True, ready=True, reason=f"it answers at {_where(config.flower)}")


def _where(flower: FlowerConfig) -> str:
    host = f"[{_host(flower)}]" if ":" in _host(flower) else _host(flower)
    return f"{host}:{flower.port}{_path(flower)}"


def _host(flower: FlowerConfig) -> str:
    """Return where a Flower that listens on every address is asked: on loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(flower.address, flower.address)  # noqa: S104 - compared


def _path(flower: FlowerConfig) -> str:
    prefix = flower.url_prefix.strip("/")
    return f"/{prefix}/healthcheck" if prefix else "/healthcheck"


def _page(flower: FlowerConfig) -> str:
    """Return why Flower does not answer; empty if it does."""
    if not flower.port:
        return "flower.port is 0, so nobody knows where it listens; give it a number"
    # Workers are asked far more often, and have no use for it.
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


def _broker(url: str | None) -> str:
    """Return why the broker at *url* does not answer; empty if it does."""
    if url is None:
        return (
            "it answers, and the broker was not asked: the project names it; "
            "set TASK_SERVER_BROKER_URL"
        )
    from kombu import Connection  # noqa: PLC0415 - only this question needs a client

    from task_server.peers.redis import explain_redis_error  # noqa: PLC0415

    options = {"socket_connect_timeout": BROKER_TIMEOUT, "socket_timeout": BROKER_TIMEOUT}
    try:
        with Connection(url, transport_options=options) as connection:
            # Not `connection.connect()`, which tries again for seconds.
            transport: Any = connection.transport
            channel = transport.create_channel(transport)
            try:
                channel.client.ping()
            finally:
                channel.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes the reason
        return explain_redis_error("broker_url", url, error).text
    return ""
