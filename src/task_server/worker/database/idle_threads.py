"""
Connections that a project's threads keep without using them.

A thread of a `ThreadPoolExecutor` lives on after its work, and so does its
connection: as many threads as connections stop every task, for ever. When
tasks wait and nothing moves, such a thread's connection is taken from it. Its
next query gets another one, for Django connects when it has none.

Taken is what nobody can miss: the thread runs no task and is not within a
query, there is no transaction and no cursor, and the server knows of no state
of the session: no setting (but those that Django makes anew), temporary table,
lock, prepared statement or LISTEN. It does not tell of settings with a dot in
their name (`SET app.tenant = …`) between two uses of one thread.
"""

import logging
import time
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import AsyncResult

from task_server.worker.database.deadlocks import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from task_server.worker.database.pool import Lease

logger = logging.getLogger(__name__)

#: Seconds that the server has for an answer.
ANSWER_SECONDS = 5.0
#: Seconds between two looks.
INTERVAL = 1.0

#: Files with a frame of whom nothing is taken: a task, a query.
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
        lent: What each greenlet has, by its id.

        greenlet: Returns a greenlet by its id; None if it is gone.
    """

    def __init__(self, lent: "Mapping[int, set[Lease]]", greenlet: "Callable[[int], Any]") -> None:
        self._lent = lent
        self._greenlet = greenlet
        self._looked = -INTERVAL
        self._looking = False
        self._asking: dict[int, tuple[Lease, AsyncResult[Any]]] = {}

    def look(self) -> None:
        """Look once, in a greenlet of its own; called whenever nothing moves."""
        now = time.monotonic()
        if self._lent and not self._looking and now - self._looked >= INTERVAL:
            self._looking, self._looked = True, now
            gevent.spawn(self._look)

    def kept(self, holder: int, key: Any) -> Any:
        """
        Return the connection that *holder* has just been asked about and keeps.

        None, at once, if there is none.
        """
        lease, answer = self._asking.get(holder, (None, None))
        if lease is None or answer is None or lease.key != key:
            return None
        return answer.get()

    def _look(self) -> None:
        try:
            for holder, lease in list(self._candidates()):
                self._ask(holder, lease)
        finally:
            self._looking = False

    def _candidates(self) -> "Iterator[tuple[int, Lease]]":
        for holder, leases in list(self._lent.items()):
            stack = frames(self._greenlet(holder))
            if stack and not any(
                part in frame.f_code.co_filename for frame in stack for part in BUSY
            ):
                yield from ((holder, lease) for lease in leases)

    def _ask(self, holder: int, lease: "Lease") -> None:
        """Take the connection of *lease* out of Django's wrapper; put it back if it has a state."""
        wrapper = None if lease.wrapper is None else lease.wrapper()
        connection = None if lease.lent is None else lease.lent()
        if wrapper is None or connection is None or not _is_idle(wrapper, lease, connection):
            return
        outer = wrapper.connection
        answer: AsyncResult[Any] = AsyncResult()
        self._asking[holder] = (lease, answer)
        wrapper.connection = None
        lease.is_asked = keeps = True
        try:
            with gevent.Timeout(ANSWER_SECONDS):
                keeps = _has_state(connection)
        except (Exception, gevent.Timeout):  # noqa: BLE001 a broken one is nothing to keep
            keeps = False
        finally:
            del self._asking[holder]
            lease.is_asked = False
            greenlet = self._greenlet(holder)
            # Its end has closed nothing meanwhile.
            keeps = keeps and greenlet is not None and not greenlet.dead
            if keeps and wrapper.connection is None:
                wrapper.connection = outer
            answer.set(outer if keeps else None)
        if not keeps:
            logger.info("a thread that does not use its connection to PostgreSQL has none now")
            connection.close()


def _is_idle(wrapper: Any, lease: "Lease", connection: Any) -> bool:
    if getattr(wrapper.connection, "_lease", None) is not lease or wrapper.allow_thread_sharing:
        return False
    if wrapper.in_atomic_block or wrapper.run_on_commit or not wrapper.autocommit:
        return False
    return not any(not cursor.closed for cursor in getattr(connection, "_cursors", ()))


def _has_state(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(STATE)
        return bool(cursor.fetchone()[0])
