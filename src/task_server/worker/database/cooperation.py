"""
What must be true so that a task which waits for PostgreSQL does not stop the others.
"""

import os
from contextlib import suppress
from typing import Any

import gevent
from gevent import monkey, socket

from task_server.errors import Problem

#: Seconds after which a driver that does not let others run is unblocked.
RESCUE_AFTER = 2.0


def unpatched() -> list[Problem]:
    """Return which modules gevent has not patched; nothing if it has."""
    missing = [
        name for name in ("socket", "select", "threading") if not monkey.is_module_patched(name)
    ]
    if not missing:
        return []
    return [
        Problem(
            "pool",
            f"gevent has not patched {', '.join(missing)}, so every query would stop all tasks; "
            "start the worker with `celery ... worker --pool=gevent`, which patches first, or with "
            "`task-server worker`",
        )
    ]


def shared_connections() -> list[Problem]:
    """Return why greenlets would share one connection of Django's; nothing if each has its own."""
    from django.db import connections  # noqa: PLC0415 only in a worker with Django

    alias = next(iter(connections))
    if connections[alias] is not gevent.spawn(lambda: connections[alias]).get():
        return []
    return [
        Problem(
            "pool",
            "django.db was imported before gevent's monkey-patch, so that all tasks would share "
            "one connection; import nothing of Django before Celery starts the worker",
        )
    ]


def blocking_driver() -> list[Problem]:
    """Return why a query would stop other greenlets; nothing if Django's driver lets them run."""
    from django.db.backends.postgresql import base  # noqa: PLC0415

    engine: Any = base  # the stubs lack what the driver decides
    if not engine.is_psycopg3:
        from psycopg2 import extensions  # noqa: PLC0415 may be absent

        if hasattr(extensions, "set_wait_callback"):
            return []
        return [
            Problem(
                "psycopg2",
                "this build knows no wait callbacks, so every query would stop all tasks; "
                "install psycopg2 or psycopg2-binary 2.8.4 or later",
            )
        ]
    # It may be absent, for mypy too.
    from psycopg import waiting  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    if _lets_others_run(waiting.wait, waiting.Wait.R):
        return []
    return [
        Problem(
            "psycopg",
            "it waits in C, so every query would stop all tasks: it was imported before gevent's "
            "monkey-patch, or PSYCOPG_WAIT_FUNC chooses another wait; import nothing of psycopg "
            "before Celery starts the worker, and unset that variable",
        )
    ]


def _lets_others_run(wait: Any, readable: Any) -> bool:
    """
    Try *wait* of psycopg 3 on a socket that another greenlet has to write to.

    An OS thread ends a blocked wait, since no greenlet can.
    """
    ours, theirs = socket.socketpair()
    spare = os.dup(theirs.fileno())
    over = monkey.get_original("_thread", "allocate_lock")()
    over.acquire()
    done = []

    def greenlet() -> None:
        done.append(True)
        theirs.send(b"x")

    def rescue() -> None:
        over.acquire(timeout=RESCUE_AFTER)
        with suppress(OSError):
            os.write(spare, b"x")
        os.close(spare)

    def steps() -> Any:
        while not (yield readable):
            pass

    writer = gevent.spawn(greenlet)
    monkey.get_original("_thread", "start_new_thread")(rescue, ())
    try:
        wait(steps(), ours.fileno(), 0.1)
        return bool(done)
    finally:
        over.release()
        writer.kill()
        ours.close()
        theirs.close()
