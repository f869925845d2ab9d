"""
Does Flower answer, and does the broker that it watches?

Flower's own page `/healthcheck` says OK even while Redis is down, so `task-server flower`
has another one, on which it asks the broker.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from task_server.health import http
from task_server.health.verdict import Verdict

if TYPE_CHECKING:
    from task_server.config.model import Config
    from task_server.launch.timing import Timing

#: Seconds to wait for Flower's answer.
TIMEOUT = 5.0

#: Seconds that Flower waits for a connection to the broker, and again for its answer.
BROKER_TIMEOUT = 2.0

#: Flower's own page, and ours, see `task_server.contrib.flower`.
PAGE = "/healthcheck"
BROKER_PATH = "/healthcheck/broker"

OK, UNAVAILABLE = 200, 503

#: Bytes of an answer that are shown.
MAX_TEXT = 4096


class Table(Protocol):
    """Where it listens, as `task_server.config.tables.FlowerConfig` has it."""

    @property
    def address(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def url_prefix(self) -> str: ...


def check(
    config: "Config",
    name: str,
    environ: Mapping[str, str],
    *,
    ready: bool,
    timing: "Timing",
) -> Verdict:
    """
    Return the verdict on the Flower that *config* describes.

    Args:
        ready: Ask for the broker too; otherwise a Flower that answers is ready.
    """
    del name, environ, timing  # It writes no heartbeat.
    return ask(config.flower, ready=ready)


def ask(flower: Table, *, ready: bool) -> Verdict:
    """Return the verdict on the Flower that listens where *flower* says."""
    reason = _page_error(flower)
    if reason:
        return Verdict(alive=False, ready=False, reason=reason)
    reason = _broker_error(flower) if ready else ""
    if reason:
        return Verdict(alive=True, ready=False, reason=reason)
    return Verdict(alive=True, ready=True, reason=f"answers at {_where(flower)}")


def _where(flower: Table) -> str:
    where = http.authority(http.reachable(flower.address), flower.port)
    return f"{where}{_prefix(flower)}{PAGE}"


def _prefix(flower: Table) -> str:
    prefix = flower.url_prefix.strip("/")
    return f"/{prefix}" if prefix else ""


def _page_error(flower: Table) -> str:
    """Return why Flower does not answer; empty if it does."""
    if not flower.port:
        return "flower.port is 0, so its port is unknown; set flower.port to a number"
    status, text = _asked(flower, PAGE, TIMEOUT)
    if status is None:
        return text
    return "" if status == OK else f"{_where(flower)} answers with {status}"


def _broker_error(flower: Table) -> str:
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


def _asked(flower: Table, path: str, seconds: float) -> tuple[int | None, str]:
    """Return the status and the text of the page *path*; None, and why there is no answer."""
    try:
        host = http.reachable(flower.address)
        status, body = http.get(host, flower.port, f"{_prefix(flower)}{path}", seconds)
    except TimeoutError:
        return None, f"no answer from {_where(flower)} within {seconds:g} s"
    except (OSError, ValueError) as error:
        return None, f"no answer from {_where(flower)} ({error})"
    return status, body[:MAX_TEXT].decode(errors="replace")
