"""
Connections to PostgreSQL that are counted one by one, and used again.

Django connects and closes as ever. A close gives the connection to this pool,
which makes it as good as new (`DISCARD ALL`) and keeps it for the next connect
with exactly the same parameters. The server never has more connections from
this process than the gate has places:

- A place is taken before a connect, and given back after the server has really
  let go: the pool keeps a duplicate of the socket and waits for its end. A
  close alone is not enough, for the server still counts a session for some
  milliseconds, or for the rest of a query whose client is gone.
- Connecting, resetting and ending run in greenlets of the pool, which nobody
  kills. A task killed while it waits for its connect leaves a good connection
  to the next task.
- A connection whose greenlet has ended, or that is collected, gives its place
  back: a thread that a project starts is a greenlet, and closes nothing.
- A thread of the system (gevent's thread pool, asyncio's) asks the loop's
  thread for a connection, and gives it back there.
"""

import logging
import os
import select
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import gevent
from gevent import monkey
from gevent import socket as green_socket
from gevent.event import AsyncResult

from task_server.worker.database.idle_threads import IdleThreads
from task_server.worker.database.limiter import Gate, NoPlaceError, Trouble

logger = logging.getLogger(__name__)

#: Seconds an unused connection is kept. Short: the server has other clients.
IDLE_SECONDS = 60.0
#: Seconds after which a connection is not used again; a session's memory only grows.
AGE_SECONDS = 1800.0
#: Seconds of rest after which a connection must answer a query before it is handed out.
TRUST_SECONDS = 5.0
#: Seconds a reset or a probe may take before the connection counts as broken.
ANSWER_SECONDS = 5.0
#: Seconds to wait for the server to end a session before its place is given away.
END_SECONDS = 60.0

Key = tuple[tuple[str, Any], ...]

#: The greenlet for which a thread of the system works, if it is one's: what the
#: thread asks for counts as that greenlet's second connection, which goes first.
#: `None` is everywhere else.
working_for: ContextVar[Any] = ContextVar("working_for", default=None)

#: The same of greenlets that work on another one's connections: helper -> whom it helps.
helped: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

#: Threads of the system, and their locks, which gevent replaces.
_thread_ident = monkey.get_original("_thread", "get_ident")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")


@dataclass(slots=True, eq=False)
class Lease:
    """One place of the gate and the one connection that fills it."""

    key: Key | None
    holder: int | None
    #: The connection while no task has it: psycopg2's object, psycopg 3's PGconn.
    raw: Any
    #: A duplicate of its socket, to see the server's end of it. Ours to close.
    descriptor: int
    born: float
    idle_since: float = 0.0
    #: The connection that a task has; None once it is back.
    lent: "weakref.ref[Any] | None" = None
    #: Django's wrapper around it, from its signal `connection_created`.
    wrapper: "weakref.ref[Any] | None" = None
    #: Whether it is looked at just now: see `green_idle`.
    is_asked: bool = False
    #: What the driver's `connect`, or what has wrapped it, returned; until it is handed out.
    outer: Any = None
    #: What the driver keeps to make the same again.
    made: Any = None


class Driver(Protocol):
    """What the pool needs to know of psycopg2 or psycopg 3."""

    name: str
    error: type[Exception]

    def flavour(self) -> Any:
        """Return what two connections must share beside their parameters."""

    def connect(self, params: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return a new raw connection and what Django's `connect` returned; wait cooperatively."""

    def fileno(self, raw: Any) -> int:
        """Return the socket of *raw*."""

    def adopt(self, raw: Any, params: Mapping[str, Any], lease: Lease, pool: "Pool") -> Any:
        """Return the object a task gets, `lease.outer` at first; its `close` gives it back."""

    def reset(self, raw: Any) -> bool:
        """Make *raw* as good as new; False if it cannot be used again."""

    def probe(self, raw: Any) -> None:
        """Ask the server for an answer; raise when there is none."""

    def destroy(self, raw: Any) -> None:
        """Cancel what runs, and close the client's side."""


def key_of(params: Mapping[str, Any], flavour: Any = None) -> Key | None:
    """Return what two connections must share to be the same; None: never share."""
    key = (*sorted(params.items()), ("", flavour))
    try:
        hash(key)
    except TypeError:
        return None
    return key


class Pool:
    """Connect for Django, within the bound of *gate*."""

    def __init__(self, driver: Driver, gate: Gate, *, reuse: bool = True) -> None:
        self._driver = driver
        self._gate = gate
        self._reuse = reuse
        #: Oldest first. At most the gate's limit, so a list is quick enough.
        self._idle: list[Lease] = []
        self._loop = gevent.get_hub().loop
        self._thread = _thread_ident()
        #: What each greenlet has, by its id, as long as it has something.
        self._lent: dict[int, set[Lease]] = {}
        self._idle_threads = IdleThreads(self._lent, gate.greenlet)
        gate.on_jam = self._idle_threads.look
        self._sweeping = False
        # Gevent's own poll would switch to another greenlet.
        self._poll = monkey.get_original("select", "poll")

    @property
    def trouble(self) -> Trouble | None:
        """Why connections do not move; None while they do."""
        return self._gate.trouble()

    @property
    def idle(self) -> int:
        """How many connections are open and unused."""
        return len(self._idle)

    def connect(self, params: Mapping[str, Any]) -> Any:
        """
        Return a connection, fresh or as good as fresh.

        Raises:
            Exception: The driver's OperationalError when the server refuses,
                or when no place came free (`Gate.acquire`).
        """
        current = gevent.getcurrent()
        greenlet = working_for.get() or helped.get(current, current)
        if _thread_ident() == self._thread:
            kept = self._idle_threads.kept(id(greenlet), key_of(params, self._driver.flavour()))
            if kept is not None:
                return kept
            lease = self._lease(params, greenlet)
            self._watch_over(lease, greenlet)
        else:
            lease = self._from_loop(params, greenlet)
        raw, lease.raw = lease.raw, None
        try:
            return self._driver.adopt(raw, params, lease, self)
        except BaseException:
            self.take_back(lease, raw)
            raise

    def note_wrapper(self, connection: Any, **_: Any) -> None:
        """Take note of Django's wrapper around a connection; a receiver of its signal."""
        # A proxy of an instrumentation may hide ours, or lack it.
        lease = getattr(connection.connection, "_lease", None)
        if isinstance(lease, Lease):
            lease.wrapper = weakref.ref(connection)

    def take_back(self, lease: Lease, raw: Any) -> None:
        """Take *raw* from the task that closed it. Does not wait."""
        lease.raw = raw
        lease.lent = lease.wrapper = None
        if _thread_ident() == self._thread:
            self._forget(lease)
            gevent.spawn(self._tidy, lease)
        else:
            self._loop.run_callback_threadsafe(self._returned, lease)

    def _returned(self, lease: Lease) -> None:
        self._forget(lease)
        gevent.spawn(self._tidy, lease)

    def _lease(self, params: Mapping[str, Any], greenlet: Any) -> Lease:
        """Return a lease with a connection; in the loop's thread."""
        holder = id(greenlet)
        try:
            self._gate.acquire(holder, greenlet)
        except NoPlaceError as error:
            message = (
                f"database_connections: {error}. Call django.db.connection.close() in tasks before "
                "they wait for something else, query nothing while a lock is held, or raise the "
                "setting."
            )
            raise self._driver.error(message) from None
        # From here on the place belongs to the lease or to the greenlet below,
        # and this greenlet may be killed at any switch.
        key = key_of(params, self._driver.flavour())
        return self._ready(key, holder) or self._wait_for(key, params, holder)

    def _watch_over(self, lease: Lease, greenlet: Any) -> None:
        """Take *lease* back when *greenlet* ends."""
        leases = self._lent.get(id(greenlet))
        # The main greenlet cannot be linked to.
        if leases is None and isinstance(greenlet, gevent.Greenlet):
            leases = self._lent[id(greenlet)] = set()
            greenlet.rawlink(self._ended)
        if leases is not None:
            leases.add(lease)

    def _from_loop(self, params: Mapping[str, Any], greenlet: Any) -> Lease:
        """Have the loop's thread fetch a lease, while this thread waits."""
        done = _allocate_lock()
        done.acquire()
        found: list[Any] = []

        def fetch() -> None:
            try:
                found.append(self._lease(params, greenlet))
            except BaseException as error:  # noqa: BLE001 the thread raises it
                found.append(error)
            finally:
                done.release()

        self._loop.run_callback_threadsafe(gevent.spawn, fetch)
        done.acquire()
        if isinstance(found[0], BaseException):
            raise found[0]
        lease: Lease = found[0]
        return lease

    def _forget(self, lease: Lease) -> None:
        holder = lease.holder or 0
        leases = self._lent.get(holder)
        if leases is None:
            return
        leases.discard(lease)
        greenlet = None if leases else self._gate.greenlet(holder)
        if greenlet is not None:
            del self._lent[holder]
            greenlet.unlink(self._ended)

    def _ended(self, greenlet: Any) -> None:
        """Take back what *greenlet*, which has ended, did not close; in the hub."""
        for lease in self._lent.pop(id(greenlet), ()):
            connection = None if lease.lent is None else lease.lent()
            wrapper = None if lease.wrapper is None else lease.wrapper()
            if wrapper is not None and wrapper.allow_thread_sharing:
                continue  # another thread may use it: it is collected with its last user
            if connection is not None and not lease.is_asked:
                connection.close()

    def lost(self, lease: Lease) -> None:
        """
        Give the place back of a connection that was collected unclosed.

        Called by the garbage collector, anywhere, so only a message to the
        worker's loop is allowed.
        """
        with suppress(Exception):  # the loop is gone at the end of the process
            self._loop.run_callback_threadsafe(gevent.spawn, self._collected, lease)

    def _collected(self, lease: Lease) -> None:
        self._forget(lease)
        self._end(lease)

    def _ready(self, key: Key | None, holder: int) -> Lease | None:
        """Return an idle connection that certainly works, without a switch."""
        lease = self._pop_idle(key)
        if lease is None:
            return None
        lease.holder = holder
        if self._looks_alive(lease) and time.monotonic() - lease.idle_since < TRUST_SECONDS:
            return lease
        self._idle.append(lease)
        return None

    def _wait_for(self, key: Key | None, params: Mapping[str, Any], holder: int) -> Lease:
        box: AsyncResult[Lease] = AsyncResult()
        gevent.spawn(self._provide, key, params, holder, box)
        try:
            lease: Lease = box.get()
        except BaseException:
            # Killed while waiting: what arrives later is put away unused. After
            # an error of the connect itself there is nothing in the box.
            box.rawlink(self._put_away)
            raise
        return lease

    def _put_away(self, box: "AsyncResult[Lease]") -> None:
        if box.successful():
            gevent.spawn(self._tidy, box.value)

    def _provide(
        self, key: Key | None, params: Mapping[str, Any], holder: int, box: "AsyncResult[Lease]"
    ) -> None:
        try:
            lease = self._tested(key, holder) or self._opened(key, params, holder)
        except BaseException as error:  # noqa: BLE001 the waiting greenlet raises it
            self._gate.release(holder)
            box.set_exception(error)
        else:
            box.set(lease)

    def _tested(self, key: Key | None, holder: int) -> Lease | None:
        """Return an idle connection that has answered; end those that do not."""
        while lease := self._pop_idle(key):
            lease.holder = holder
            if self._looks_alive(lease):
                try:
                    with gevent.Timeout(ANSWER_SECONDS):
                        self._driver.probe(lease.raw)
                except (Exception, gevent.Timeout):  # noqa: BLE001 broken, whatever it was
                    logger.debug("an idle connection to PostgreSQL did not answer")
                else:
                    return lease
            self._finish(lease)
        return None

    def _opened(self, key: Key | None, params: Mapping[str, Any], holder: int) -> Lease:
        # Our own place is counted in `used`; an idle connection of other
        # parameters may stand on it.
        while self._gate.used + len(self._idle) > self._gate.limit and self._idle:
            self._finish(self._idle.pop(0))
        raw, outer = self._driver.connect(params)
        descriptor = os.dup(self._driver.fileno(raw))
        return Lease(key, holder, raw, descriptor, time.monotonic(), outer=outer)

    def _pop_idle(self, key: Key | None) -> Lease | None:
        # The last one used is the one whose caches are warm, and the others
        # get old enough to be closed.
        for index in range(len(self._idle) - 1, -1, -1):
            if key is not None and self._idle[index].key == key:
                return self._idle.pop(index)
        return None

    def _looks_alive(self, lease: Lease) -> bool:
        """Tell whether the socket is silent: an end or a last message is not."""
        poll = self._poll()
        poll.register(lease.descriptor, select.POLLIN | select.POLLRDHUP)
        return not poll.poll(0)

    def _tidy(self, lease: Lease) -> None:
        """Make a returned connection ready for the next task, or end it."""
        if lease.outer is not None:
            # Never handed out. What `connect` made of it is not made again.
            lease.outer, lease.key = None, None
        try:
            with gevent.Timeout(ANSWER_SECONDS):
                young = time.monotonic() - lease.born < AGE_SECONDS
                good = (
                    self._reuse
                    and young
                    and lease.key is not None
                    and self._driver.reset(lease.raw)
                )
        except (Exception, gevent.Timeout):  # noqa: BLE001 it is closed, which is always right
            good = False
        if not good:
            self._end(lease)
            return
        holder, lease.holder = lease.holder, None
        lease.idle_since = time.monotonic()
        self._idle.append(lease)
        self._gate.release(holder)
        if not self._sweeping:
            self._sweeping = True
            gevent.spawn_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close what nobody has used for a while."""
        now = time.monotonic()
        old = [lease for lease in self._idle if now - lease.idle_since >= IDLE_SECONDS]
        self._idle = [lease for lease in self._idle if lease not in old]
        for lease in old:
            self._gate.seize()
            gevent.spawn(self._end, lease)
        self._sweeping = bool(self._idle)
        if self._idle:
            oldest = min(lease.idle_since for lease in self._idle)
            gevent.spawn_later(oldest + IDLE_SECONDS - now, self._sweep)

    def _end(self, lease: Lease) -> None:
        """End the connection, then give its place back."""
        try:
            self._finish(lease)
        finally:
            self._gate.release(lease.holder)

    def _finish(self, lease: Lease) -> None:
        """Close the connection and wait until the server has let go as well."""
        raw, lease.raw = lease.raw, None
        try:
            if raw is not None:
                self._driver.destroy(raw)
            del raw
            with gevent.Timeout(END_SECONDS):
                self._read_to_end(lease.descriptor)
        except gevent.Timeout:
            logger.warning(
                "PostgreSQL did not end a closed session within %g seconds; "
                "for a while it may count one connection above database_connections",
                END_SECONDS,
            )
        except Exception:
            logger.exception("could not close a connection to PostgreSQL")
        finally:
            os.close(lease.descriptor)

    @staticmethod
    def _read_to_end(descriptor: int) -> None:
        # A reset instead of an end says the same: the server's side is gone.
        with suppress(ConnectionError):
            while True:
                try:
                    if not os.read(descriptor, 65536):
                        return
                except BlockingIOError:
                    green_socket.wait_read(descriptor)
