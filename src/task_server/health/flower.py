"""
Does Flower answer, and does the broker that it watches?

Flower's own page `/healthcheck` says OK even while Redis is down, so `task-server flower`
has another one, on which it asks the broker.
"""

from collections.abc import Mapping

from task_server.config.model import Config
from task_server.config.tables import FlowerConfig
from task_server.health.verdict import Verdict
from task_server.launch.timing import Timing

#: Seconds to wait for Flower's answer.
TIMEOUT = 5.0

#: Seconds that Flower waits for a connection to the broker, and again for its answer.
BROKER_TIMEOUT = 2.0

#: Flower's own page, and ours, see `task_server.contrib.flower`.
PAGE = "/healthcheck"
BROKER_PATH = "/healthcheck/broker"

OK, UNAVAILABLE = 200, 503

#: Read of an answer.
MAX_BYTES = 4096


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
        ready: Ask for the broker too; otherwise a Flower that answers is ready.
    """
    del name, environ, timing  # It writes no heartbeat.
    reason = _page_error(config.flower)
    if reason:
        return Verdict(alive=False, ready=False, reason=reason)
    reason = _broker_error(config.flower) if ready else ""
    if reason:
        return Verdict(alive=True, ready=False, reason=reason)
    return Verdict(alive=True, ready=True, reason=f"answers at {_where(config.flower)}")


def _where(flower: FlowerConfig) -> str:
    host = f"[{_host(flower)}]" if ":" in _host(flower) else _host(flower)
    return f"{host}:{flower.port}{_prefix(flower)}{PAGE}"


def _host(flower: FlowerConfig) -> str:
    """Return the address to connect to: loopback if Flower listens on every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(flower.address, flower.address)  # noqa: S104 - compared


def _prefix(flower: FlowerConfig) -> str:
    prefix = flower.url_prefix.strip("/")
    return f"/{prefix}" if prefix else ""


def _page_error(flower: FlowerConfig) -> str:
    """Return why Flower does not answer; empty if it does."""
    if not flower.port:
        return "flower.port is 0, so its port is unknown; set flower.port to a number"
    status, text = _asked(flower, PAGE, TIMEOUT)
    if status is None:
        return text
    return "" if status == OK else f"{_where(flower)} answers with {status}"


def _broker_error(flower: FlowerConfig) -> str:
    """Return why the broker that Flower watches does not answer; empty if it does."""
    # It knows the project's settings, and how to reach a broker behind Sentinels.
    status, text = _asked(flower, BROKER_PATH, TIMEOUT + BROKER_TIMEOUT)
    if status == OK:
        return ""
    if status is None or status == UNAVAILABLE:
        return text
    return (
        "Flower answers, but cannot say whether the broker does: it was not started by "
        "`task-server flower`"
    )


def _asked(flower: FlowerConfig, path: str, seconds: float) -> tuple[int | None, str]:
    """Return the status and the text of the page *path*; None, and why there is no answer."""
    # Checks of workers are far more frequent and do not need it.
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415

    connection = HTTPConnection(_host(flower), flower.port, timeout=seconds)
    try:
        connection.request("GET", f"{_prefix(flower)}{path}")
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_BYTES).decode(errors="replace")
    except TimeoutError:
        return None, f"no answer from {_where(flower)} within {seconds:g} s"
    except (OSError, HTTPException) as error:
        return None, f"no answer from {_where(flower)} ({error})"
    finally:
        connection.close()
