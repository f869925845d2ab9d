"""
The answer of `task-server health NAME` where all is as usual, with few imports.

Such a check runs several times a minute in each pod, and what it imports is what it costs: the
configuration takes several times as long as this. Whatever is not as usual (other options, an
`up` that runs here, no heartbeat, a setting that is wrong) is left to
`task_server.health.command`, which gives the same answers, and explains what is wrong.
"""

import os
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

from task_server.config import listening
from task_server.health.answer import answer
from task_server.health.place import folder_of, owner_of
from task_server.health.verdict import Verdict
from task_server.health.written import NotReadError, Written

#: Variables that stand for options, or that tests change; with one of them nothing is as usual.
UNUSUAL = ("TASK_SERVER_STALE", "TASK_SERVER_READY", "TASK_SERVER_JSON", "TASK_SERVER_TIMING")

#: The words of the command line beside the name.
FLAGS = ("--ready", "--json")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int | None:
    """
    Answer, and return the exit code; None, with nothing printed, if this cannot answer.

    Args:
        arguments: What follows `task-server health`.
    """
    names = [one for one in arguments if one not in FLAGS]
    if len(names) != 1 or not _is_name(names[0]):
        return None
    if any(one in environ for one in UNUSUAL) or _has_state(environ):
        return None
    ready = "--ready" in arguments
    try:
        found = _verdict(names[0], Written(environ), environ, ready=ready)
    except NotReadError:
        return None
    if found is None:
        return None
    return answer(names[0], found, ready=ready, as_json="--json" in arguments)


def _verdict(
    name: str, written: Written, environ: Mapping[str, str], *, ready: bool
) -> Verdict | None:
    """
    Return the verdict on the worker or service *name*; None if it has no good heartbeat.

    Raises:
        NotReadError: When a setting must be read by the complete reader.
    """
    # No worker is called like a service.
    if name == "flower":
        return _flower(written, ready=ready)
    if name == "metrics":
        return _metrics(written, ready=ready)
    runtime_dir, uid = written.text("runtime_dir"), os.getuid()
    where = (folder_of(runtime_dir, environ, uid), name, owner_of(runtime_dir, environ, uid))
    return _beat(*where) if name == "beat" else _worker(*where)


def _worker(folder: str, name: str, owner: int | None) -> Verdict | None:
    from task_server.health import heartbeat, verdict  # noqa: PLC0415 - each imports its own

    found = heartbeat.read(folder, name, owner)
    return None if isinstance(found, str) else verdict.check_heartbeat(found)


def _beat(folder: str, name: str, owner: int | None) -> Verdict | None:
    from task_server.health import beat_heartbeat, beat_verdict, heartbeat  # noqa: PLC0415

    found = heartbeat.read_as(beat_heartbeat.BeatHeartbeat, folder, name, owner, title=name)
    return None if isinstance(found, str) else beat_verdict.check_heartbeat(found)


def _flower(written: Written, *, ready: bool) -> Verdict:
    from task_server.health import flower  # noqa: PLC0415

    port, prefix = written.port("flower.port"), written.text("flower.url_prefix", may_be_empty=True)
    table = SimpleNamespace(
        address=written.text("flower.address") or listening.ADDRESS,
        port=listening.FLOWER_PORT if port is None else port,
        url_prefix=listening.URL_PREFIX if prefix is None else prefix,
    )
    return flower.ask(table, ready=ready)


def _metrics(written: Written, *, ready: bool) -> Verdict:
    from task_server.health import metrics  # noqa: PLC0415

    port = written.port("metrics.port")
    table = SimpleNamespace(
        address=written.text("metrics.address") or listening.ADDRESS,
        port=listening.METRICS_PORT if port is None else port,
    )
    return metrics.ask(table, ready=ready)


def _is_name(word: str) -> bool:
    return word.isascii() and word.replace("-", "").replace("_", "").isalnum() and word[0] != "-"


def _has_state(environ: Mapping[str, str]) -> bool:
    """Whether an `up` may run here, see `task_server.health.of_up`."""
    return os.path.lexists(environ.get("TASK_SERVER_STATE") or ".task-server")
