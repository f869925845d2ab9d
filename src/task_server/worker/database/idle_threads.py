"""
Connections that a project's threads keep without using them.

A thread of a `ThreadPoolExecutor` lives on after its work, and so does its
connection: as many threads as connections block every task forever. When tasks
wait and nothing moves, such a thread's connection is taken from it. Its next
query gets another one, for Django connects when it has none.

A connection is taken only if the thread cannot notice: the thread runs no task
and is not within a query, there is no transaction and no cursor, and the
server knows of no state of the session: no setting (but those that Django sets
when it connects), temporary table, lock, prepared statement or LISTEN. It
cannot see settings with a dot in their name (`SET app.tenant = …`) between two
uses of one thread.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gevent
from gevent.event import AsyncResult

from task_server.worker.database.connection import PooledConnection
from task_server.worker.database.deadlocks import stack_of

logger = logging.getLogger(__name__)

#: Seconds that the server has for an answer.
ANSWER_TIMEOUT = 5.0
#: Seconds between two inspections.
INTERVAL = 1.0

#: Files that are in the stack of a thread which runs a task or a query.
BUSY = ("/celery/app/trace.py", "/django/db/", "/psycopg")

#: Whether a session has a state. Django sets these settings when it connects.
STATE = """
SELECT EXISTS (SELECT FROM pg_settings WHERE source = 'session' AND name NOT IN
    ('TimeZone', 'DateStyle', 'role', 'client_encoding', 'default_transaction_isolation'))
  OR EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_my_temp_schema())
  OR EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
  OR EXISTS (SELECT FROM pg_prepared_statements WHERE from_sql)
  OR EXISTS (SELECT FROM pg_cursors WHERE statement NOT LIKE '%pg_my_temp_schema%')
  OR EXISTS (SELECT FROM pg_listening_channels())
"""


class IdleThreads:
    """
    Take connections from threads of the project that do not use them.

    Args:
        checked_out: What each greenlet has, by its id.

        greenlet_of: Returns a greenlet by its id; None if it is gone.
    """

    def __init__(
        self,
        checked_out: Mapping[int, set[PooledConnection]],
        greenlet_of: Callable[[int], Any],
    ) -> None:
        self._checked_out = checked_out
        self._greenlet_of = greenlet_of
        self._started_at = -INTERVAL
        self._is_running = False
        self._inspected: dict[int, tuple[PooledConnection, AsyncResult[Any]]] = {}

    def inspect(self) -> None:
        """Inspect all once, in a greenlet of its own; called whenever nothing moves."""
        now = time.monotonic()
        if self._checked_out and not self._is_running and now - self._started_at >= INTERVAL:
            self._is_running, self._started_at = True, now
            gevent.spawn(self._inspect_all)

    def kept(self, holder: int, key: Any) -> Any:
        """
        Return the connection of *holder* that is being inspected, if it keeps it.

        None, at once, if there is none.
        """
        pooled, answer = self._inspected.get(holder, (None, None))
        if pooled is None or answer is None or pooled.key != key:
            return None
        return answer.get()

    def _inspect_all(self) -> None:
        try:
            for holder, pooled in list(self._candidates()):
                self._inspect(holder, pooled)
        finally:
            self._is_running = False

    def _candidates(self) -> Iterator[tuple[int, PooledConnection]]:
        for holder, connections in list(self._checked_out.items()):
            stack = stack_of(self._greenlet_of(holder))
            if stack and not any(
                part in frame.f_code.co_filename for frame in stack for part in BUSY
            ):
                yield from ((holder, pooled) for pooled in connections)

    def _inspect(self, holder: int, pooled: PooledConnection) -> None:
        """Take the connection out of Django's wrapper; put it back if its session has a state."""
        wrapper = None if pooled.wrapper is None else pooled.wrapper()
        connection = None if pooled.checked_out is None else pooled.checked_out()
        if wrapper is None or connection is None or not _is_idle(wrapper, pooled, connection):
            return
        outer = wrapper.connection
        answer: AsyncResult[Any] = AsyncResult()
        self._inspected[holder] = (pooled, answer)
        wrapper.connection = None
        pooled.is_inspected = keeps = True
        try:
            with gevent.Timeout(ANSWER_TIMEOUT):
                keeps = _has_state(connection)
        except (Exception, gevent.Timeout):  # noqa: BLE001 a broken one is not worth keeping
            keeps = False
        finally:
            del self._inspected[holder]
            pooled.is_inspected = False
            greenlet = self._greenlet_of(holder)
            # If it has ended meanwhile, its end has closed nothing.
            keeps = keeps and greenlet is not None and not greenlet.dead
            if keeps and wrapper.connection is None:
                wrapper.connection = outer
            answer.set(outer if keeps else None)
        if not keeps:
            logger.info("took the connection to PostgreSQL of a thread that does not use it")
            connection.close()


def _is_idle(wrapper: Any, pooled: PooledConnection, connection: Any) -> bool:
    if getattr(wrapper.connection, "_pooled", None) is not pooled or wrapper.allow_thread_sharing:
        return False
    if wrapper.in_atomic_block or wrapper.run_on_commit or not wrapper.autocommit:
        return False
    return not any(not cursor.closed for cursor in getattr(connection, "_cursors", ()))


def _has_state(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(STATE)
        return bool(cursor.fetchone()[0])
