"""
Reused connections to PostgreSQL, with an exact count.

Django connects and closes as ever. A close gives the connection to this pool,
which resets it (`DISCARD ALL`) and keeps it for the next connect
with exactly the same parameters. The server never has more connections from
this process than the limiter has slots:

- A slot is acquired before a connect, and released after the server has really
  ended the session (see `closing`).
- Connecting, resetting and closing run in greenlets of the pool, which are never
  killed. A task killed while it waits for its connect leaves a good connection
  to the next task.
- A connection whose greenlet has ended, or that is collected, releases its
  slot: a thread that a project starts is a greenlet, and closes nothing.
- An OS thread (gevent's thread pool, asyncio's) asks the loop's
  thread for a connection, and returns it there.
"""

import logging
import os
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gevent
from gevent.event import AsyncResult

from task_server.worker.database import closing
from task_server.worker.database.connection import Driver, Key, PooledConnection, pool_key
from task_server.worker.database.idle import IdleConnections, is_alive
from task_server.worker.database.idle_threads import IdleThreads
from task_server.worker.database.limiter import ConnectionLimiter
from task_server.worker.database.loop_thread import LoopThread
from task_server.worker.database.requester import requester
from task_server.worker.database.slots import NoSlotError
from task_server.worker.database.stalls import Stall

logger = logging.getLogger(__name__)

#: Idle seconds after which a connection must answer a query before its checkout.
PRE_PING_AFTER = 5.0
#: Seconds a reset or a ping may take before the connection counts as broken.
ANSWER_TIMEOUT = 5.0


class ConnectionPool:
    """
    Connect for Django, within the limit of *limiter*.

    Args:
        max_age: Seconds after which a connection is not reused; a session's memory
            only grows. 0 reuses none.

        max_idle: Seconds after which an unused one is closed.
    """

    def __init__(
        self, driver: Driver, limiter: ConnectionLimiter, max_age: float, max_idle: float
    ) -> None:
        self._driver = driver
        self._limiter = limiter
        self._max_age = max_age
        self._idle = IdleConnections(self._close_and_release, limiter.force_acquire, max_idle)
        self._loop_thread = LoopThread()
        #: What each greenlet has checked out, by its id; no entry without any.
        self._checked_out: dict[int, set[PooledConnection]] = {}
        self._idle_threads = IdleThreads(self._checked_out, limiter.greenlet_of)
        limiter.on_stall = self._idle_threads.inspect

    @property
    def stall(self) -> Stall | None:
        """Why connections do not move; None while they do."""
        return self._limiter.stall()

    @property
    def idle(self) -> int:
        """How many connections are open and unused."""
        return len(self._idle)

    def connect(self, params: Mapping[str, Any]) -> Any:
        """
        Return a new or a reset connection.

        Raises:
            Exception: The driver's OperationalError when the server refuses,
                or when no slot came free (`ConnectionLimiter.acquire`).
        """
        greenlet = requester()
        if self._loop_thread.is_current():
            kept = self._idle_threads.kept(id(greenlet), self._key_of(params))
            if kept is not None:
                return kept
            pooled = self._acquire(params, greenlet)
            self._track(pooled, greenlet)
        else:
            pooled = self._loop_thread.run(self._acquire, params, greenlet)
        dbapi, pooled.dbapi = pooled.dbapi, None
        try:
            return self._driver.wrap(dbapi, params, pooled)
        except BaseException:
            self.checkin(pooled, dbapi)
            raise

    def note_wrapper(self, connection: Any, **_: Any) -> None:
        """Record Django's wrapper around a connection; a receiver of `connection_created`."""
        # A proxy of an instrumentation may hide ours, or lack it.
        pooled = getattr(connection.connection, "_pooled", None)
        if isinstance(pooled, PooledConnection):
            pooled.wrapper = weakref.ref(connection)

    def checkin(self, pooled: PooledConnection, dbapi: Any) -> None:
        """Take *dbapi* from the task that closed it. Does not wait."""
        pooled.dbapi = dbapi
        pooled.checked_out = pooled.wrapper = None
        if self._loop_thread.is_current():
            self._checked_in(pooled)
        else:
            self._loop_thread.call_soon(self._checked_in, pooled)

    def _checked_in(self, pooled: PooledConnection) -> None:
        self._untrack(pooled)
        gevent.spawn(self._recycle, pooled)

    def reclaim(self, pooled: PooledConnection) -> None:
        """
        Release the slot of a connection that was collected unclosed.

        Called by the garbage collector, anywhere, so only a message to the
        worker's loop is allowed.
        """
        with suppress(Exception):  # the loop is gone at the end of the process
            self._loop_thread.call_soon(gevent.spawn, self._reclaim, pooled)

    def _reclaim(self, pooled: PooledConnection) -> None:
        self._untrack(pooled)
        self._close_and_release(pooled)

    def _key_of(self, params: Mapping[str, Any]) -> Key | None:
        return pool_key(params, self._driver.key_part())

    def _acquire(self, params: Mapping[str, Any], greenlet: Any) -> PooledConnection:
        """Return a connection with a slot; in the loop's thread."""
        holder = id(greenlet)
        try:
            self._limiter.acquire(holder, greenlet)
        except NoSlotError as error:
            message = (
                f"database_connections: {error}. Call django.db.connection.close() in tasks before "
                "they wait for something else, query nothing while a lock is held, or raise the "
                "setting."
            )
            raise self._driver.error(message) from None
        # From here on the slot belongs to the connection or to the greenlet below,
        # and this greenlet may be killed at any switch.
        key = self._key_of(params)
        return self._checkout_idle(key, holder) or self._wait_for_checkout(key, params, holder)

    def _track(self, pooled: PooledConnection, greenlet: Any) -> None:
        """Check *pooled* in when *greenlet* ends."""
        connections = self._checked_out.get(id(greenlet))
        # The main greenlet cannot be linked to.
        if connections is None and isinstance(greenlet, gevent.Greenlet):
            connections = self._checked_out[id(greenlet)] = set()
            greenlet.rawlink(self._on_greenlet_end)
        if connections is not None:
            connections.add(pooled)

    def _untrack(self, pooled: PooledConnection) -> None:
        holder = pooled.holder or 0
        connections = self._checked_out.get(holder)
        if connections is None:
            return
        connections.discard(pooled)
        greenlet = None if connections else self._limiter.greenlet_of(holder)
        if greenlet is not None:
            del self._checked_out[holder]
            greenlet.unlink(self._on_greenlet_end)

    def _on_greenlet_end(self, greenlet: Any) -> None:
        """Check in what *greenlet*, which has ended, did not close; in the hub."""
        for pooled in self._checked_out.pop(id(greenlet), ()):
            connection = None if pooled.checked_out is None else pooled.checked_out()
            wrapper = None if pooled.wrapper is None else pooled.wrapper()
            if wrapper is not None and wrapper.allow_thread_sharing:
                continue  # another thread may use it: it is collected with its last user
            if connection is not None and not pooled.is_inspected:
                connection.close()

    def _checkout_idle(self, key: Key | None, holder: int) -> PooledConnection | None:
        """Return an idle connection that certainly works, without a switch."""
        pooled = self._idle.pop(key)
        if pooled is None:
            return None
        pooled.holder = holder
        if is_alive(pooled) and time.monotonic() - pooled.idle_since < PRE_PING_AFTER:
            return pooled
        self._idle.put_back(pooled)
        return None

    def _wait_for_checkout(
        self, key: Key | None, params: Mapping[str, Any], holder: int
    ) -> PooledConnection:
        result: AsyncResult[PooledConnection] = AsyncResult()
        gevent.spawn(self._checkout, key, params, holder, result)
        try:
            pooled: PooledConnection = result.get()
        except BaseException:
            # Killed while waiting: the connection is recycled when it arrives. After
            # an error of the connect itself there is nothing to recycle.
            result.rawlink(self._discard)
            raise
        return pooled

    def _discard(self, result: "AsyncResult[PooledConnection]") -> None:
        if result.successful():
            gevent.spawn(self._recycle, result.value)

    def _checkout(
        self,
        key: Key | None,
        params: Mapping[str, Any],
        holder: int,
        result: "AsyncResult[PooledConnection]",
    ) -> None:
        try:
            pooled = self._ping_idle(key, holder) or self._open(key, params, holder)
        except BaseException as error:  # noqa: BLE001 the waiting greenlet raises it
            self._limiter.release(holder)
            result.set_exception(error)
        else:
            result.set(pooled)

    def _ping_idle(self, key: Key | None, holder: int) -> PooledConnection | None:
        """Return an idle connection that has answered; close those that do not."""
        while pooled := self._idle.pop(key):
            pooled.holder = holder
            if is_alive(pooled):
                try:
                    with gevent.Timeout(ANSWER_TIMEOUT):
                        self._driver.ping(pooled.dbapi)
                except (Exception, gevent.Timeout):  # noqa: BLE001 broken, whatever it was
                    logger.debug("an idle connection to PostgreSQL did not answer")
                else:
                    return pooled
            self._close(pooled)
        return None

    def _open(self, key: Key | None, params: Mapping[str, Any], holder: int) -> PooledConnection:
        # Our own slot is counted in `used`; an idle connection of other
        # parameters may stand on it.
        while self._limiter.used + self.idle > self._limiter.limit and self._idle:
            self._close(self._idle.pop_oldest())
        dbapi, returned = self._driver.connect(params)
        descriptor = os.dup(self._driver.fileno(dbapi))
        now = time.monotonic()
        return PooledConnection(self, key, holder, dbapi, descriptor, now, connect_result=returned)

    def _recycle(self, pooled: PooledConnection) -> None:
        """Make a returned connection ready for the next task, or close it."""
        if pooled.connect_result is not None:
            # Never checked out; what `connect` returned cannot be created again.
            pooled.connect_result, pooled.key = None, None
        if not self._is_reusable(pooled):
            self._close_and_release(pooled)
            return
        holder, pooled.holder = pooled.holder, None
        self._idle.add(pooled)
        self._limiter.release(holder)

    def _is_reusable(self, pooled: PooledConnection) -> bool:
        """Reset *pooled*; return whether it can be used again."""
        if pooled.key is None or time.monotonic() - pooled.created_at >= self._max_age:
            return False
        try:
            with gevent.Timeout(ANSWER_TIMEOUT):
                return self._driver.reset(pooled.dbapi)
        except (Exception, gevent.Timeout):  # noqa: BLE001 it is closed, which is always right
            return False

    def _close_and_release(self, pooled: PooledConnection) -> None:
        """Close the connection, then release its slot."""
        try:
            self._close(pooled)
        finally:
            self._limiter.release(pooled.holder)

    def _close(self, pooled: PooledConnection) -> None:
        closing.close(pooled, self._driver)
