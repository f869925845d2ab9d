"""What a worker replaces in the packages below it is what the table says, and nothing else."""

import json
import re
import signal
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from task_server.worker.patches import PATCHES
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

#: Packages whose values are compared too. A function or a class of ours is found in all.
PACKAGES = re.compile(
    "(asgiref|asyncio|billiard|celery|django|gevent|greenlet|kombu|psycopg|redis)"
)

#: What differs from worker to worker: caches, and what a process learns while it runs.
STATE = (
    "billiard.process:_current_process",
    "celery.concurrency.prefork:_process_hostname",
    "celery.utils.dispatch.signal:NONE_ID",
    "celery.utils.nodenames:*",
    "celery.worker.state:*",
    "celery.worker.consumer.consumer:*requests*",
    "django.dispatch.dispatcher:NONE_ID",
    "gevent._gevent_clocal:local.__slots__",
    "gevent.hub:MAIN_THREAD_IDENT",
    "gevent.subprocess:name",
    "gevent.threading:_DummyThread.*",
    # Kombu's, of the transport that it has found by TRANSPORT_ALIASES.
    "kombu.transport:_transport_cache*",
    "kombu.asynchronous.hub:_current_loop",
    "kombu.common:_node_id",
    "kombu.transport.redis:Channel._fanout_queues*",
    "redis.*.__slotnames__",
    "redis.lock:Lock.lua_*",
    "redis.observability.providers:_observability_instance",
    # A greenlet keeps there what it was spawned for.
    "gevent.*:Greenlet._run *",
)


def rows_of(name: str) -> set[str]:
    """Return the rows of the table that *name* belongs to; a row with its name takes it alone."""
    if name in PATCHES:
        return {name}
    escaped = {target: re.sub(r"([\[\]?])", r"[\1]", target) for target in PATCHES}
    return {target for target, pattern in escaped.items() if fnmatchcase(name, pattern)}


def differing(ours: dict[str, Any], plain: dict[str, Any]) -> set[str]:
    """Return the names at which *ours*, a worker's file, has something else than Celery's."""
    there = plain["names"]
    found = {
        name
        for name, value in ours["names"].items()
        if value.startswith("task_server")
        or (PACKAGES.match(name) and name in there and value != there[name])
    }
    found |= {
        next((each for each in places.split() if rows_of(each)), places)
        for places in ours["shadowed"]
    }
    return {name for name in found if not any(fnmatchcase(name, state) for state in STATE)}


@pytest.mark.parametrize(
    "django",
    [pytest.param("", id="alone", marks=pytest.mark.slow), pytest.param("django", id="django")],
)
@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_replaces_what_the_table_says(
    *,
    start: Callable[..., Worker],
    stock: Callable[..., Worker],
    app: Celery,
    folder: Path,
    pool: str,
    django: str,
) -> None:
    """
    Nothing else differs from a worker of plain Celery: ready, in a task, and at its end.
    """
    # Of both, tasks have an attribute; up to Celery 5.6 of `delivery` alone.
    settings: dict[str, Any] = {"time_limit": 60, "delivery": "at-least-once"}
    if pool == "gevent":
        settings["asyncio"] = "per-task"
    # Of a queue of its own, so that it runs no task of the other worker.
    arguments = ("--pool", pool, "--concurrency", "2", "--queues", "plain")
    stock("patched", *arguments, PATCHED_FILE=str(folder / "plain"), PATCHED_DJANGO=django)
    celerys = folder / "plain.ready"
    environ = {"PATCHED_FILE": str(folder / "ours"), "PATCHED_DJANGO": django}
    worker = start(pool, app="patched", environ=environ, **settings)
    until((folder / "ours.ready").exists)
    app.send_task("patched.snapshot")
    until((folder / "ours.task").exists)
    worker.send(signal.SIGTERM)
    worker.wait()
    until(celerys.exists)

    unlisted: set[str] = set()
    used: set[str] = set()
    theirs = json.loads(celerys.read_text())
    for what in ("ready", "task", "end"):
        ours = json.loads((folder / f"ours.{what}").read_text())
        names = differing(ours, theirs) | set(ours["applied"])
        unlisted |= {name for name in names if not rows_of(name)}
        used |= {row for name in names for row in rows_of(name)}

    assert set() == unlisted
    assert set() == {row for row in used if PATCHES[row].pool not in (pool, None)}
    needed = {row for row, each in PATCHES.items() if each.pool in (pool, None)}
    if not django:
        needed -= {row for row in needed if PATCHES[row].package in ("asgiref", "django")}
    assert set() == needed - used
