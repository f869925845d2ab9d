"""What children run, and what they say and leave behind, in the main process."""

import logging
import os
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Final

from billiard.pool import READY
from celery.worker import state as worker_state

from task_server.transport.fetcher import ORPHAN_SECONDS
from task_server.transport.store import unreadable
from task_server.transport.store.owner import MARKER, owner_json
from task_server.transport.unacked.prefetched import Message
from task_server.worker.direct.adopt import Adoption
from task_server.worker.direct.fetch import Lost
from task_server.worker.direct.slot import Fetched, Slot, State

logger: Final = logging.getLogger(__name__)

state: Any = worker_state


class Children:
    """
    The children of one *pool*.

    Args:
        can_receive: Whether messages that are handed over can be received.

        on_count: Gets how many messages were received, and run.

        on_job: Called when a job has ended.

    Attributes:
        adoption: How what they run is adopted; None before the first connection.
    """

    def __init__(
        self,
        pool: Any,
        can_receive: Callable[[], bool],
        on_count: Callable[[int], None],
        on_job: Callable[[], None],
    ) -> None:
        self.pool = pool
        self.adoption: Adoption | None = None
        self._can_receive = can_receive
        self._on_count = on_count
        self.on_job_ready = on_job

    @property
    def slots(self) -> Iterator[Slot]:
        """The memory of each."""
        return (process.slot for process in tuple(self.pool._pool))  # noqa: SLF001 - billiard's list

    @property
    def is_unknown(self) -> bool:
        """Whether one has, or may get, what is not known here; it says at last that it is free."""
        pool = self.pool
        jobs = [job for job in pool._cache.values() if not job.ready()]  # noqa: SLF001 - billiard's
        known = {one.inqW_fd for job in jobs if (one := job._write_to or job._scheduled_for)}  # noqa: SLF001
        return bool(pool._busy_workers - known)  # noqa: SLF001

    # What they run

    def adopt(self, before: float = float("inf")) -> None:
        """Adopt the tasks that run, and have started *before*, by the monotonic clock."""
        if self.adoption is None:
            return
        for process in tuple(self.pool._pool):  # noqa: SLF001 - billiard's list
            slot = process.slot
            self._end_if_settled(process)
            if slot.state == State.RUNNING and not slot.job and slot.started <= before:
                self._adopt(process, self.adoption)

    def _adopt(self, process: Any, adoption: Adoption) -> None:
        slot = process.slot
        number, one, started = slot.number, slot.message(), slot.started
        if one is None or getattr(process, "unwatched", 0) == number:
            return
        job = adoption.new_job()
        if not slot.adopts(number, job._job):  # noqa: SLF001 - billiard's
            job.discard()
        elif not self._start(job, one, process, started):
            # The child ends it for itself.
            process.unwatched = number
            slot.disowns()

    def _start(self, job: Any, one: Fetched, process: Any, started: float) -> bool:
        assert self.adoption is not None  # noqa: S101 - narrows for the type checker
        try:
            self.adoption.start(job, one, process, started)
        except Exception:
            job.discard()
            logger.exception("a task that a child runs cannot be watched: %s", one.tag)
            return False
        return True

    def _claim(self, process: Any, number: int) -> int:
        """Return the job of the message of *number*, with which its child is done; 0 for none."""
        slot = process.slot
        adopted, job = slot.adopted
        if adopted == number:
            return int(job)
        one = slot.message()
        if one is None or self.adoption is None:
            return 0
        new = self.adoption.new_job()
        slot.claims(number, new._job)  # noqa: SLF001 - billiard's
        return int(new._job) if self._start(new, one, process, slot.started) else 0  # noqa: SLF001

    def _end_if_settled(self, process: Any) -> None:
        """End the job of a child that ended it just before it saw that it was adopted."""
        number, job = process.slot.adopted
        # It may have settled others since.
        if not number or process.slot.settles < number:
            return
        known = self.pool._cache.get(job)  # noqa: SLF001 - billiard's
        if known is not None and not known.ready():
            seconds = monotonic() - process.slot.started
            self._say_ready(process, job, (True, (0, None, seconds)))

    def _say_ready(self, process: Any, job: int, result: Any) -> None:
        handler = self.pool._result_handler  # noqa: SLF001 - billiard's
        handler.on_state_change((READY, (job, None, result, process.inqW_fd)))

    # What they say

    def on_handed(self, process: Any, number: int, one: Fetched) -> None:
        """Receive *one* as if this process had fetched it."""
        if process is not None and process.slot.adopted[0] == number:
            self._disown(process.slot.adopted[1])
        if self._can_receive() and self.adoption is not None:
            message = Message(one.queue, one.tag, one.text, one.list_key, one.marker)
            self.adoption.channel.unacked.prefetched.append(message)
        else:
            self._requeue(one.tag)
        if process is not None:
            process.slot.receives(number)

    def _disown(self, job: int) -> None:
        """Drop *job*: its child saw, just before it was adopted, that it must not run."""
        known = self.pool._cache.get(job)  # noqa: SLF001 - billiard's
        request = known and getattr(known._callback, "__self__", None)  # noqa: SLF001
        if known is not None:
            known.discard()
            # As when it had ended; it was taken when the task was adopted.
            if self.pool._putlock is not None:  # noqa: SLF001 - billiard's
                self.pool._putlock.release()  # noqa: SLF001
        if request is not None:
            request.acknowledged = True
            state.task_ready(request)
            qos, tag = request.message.channel.qos, request.message.delivery_tag
            qos._delivered.pop(tag, None)  # noqa: SLF001
            qos.unacked.delivered.size.remove(tag)

    def on_failed(self, process: Any, number: int, result: Any) -> None:
        """Let Celery deal with a task that has not succeeded."""
        if process is None:
            return
        if job := self._claim(process, number):
            self._say_ready(process, job, result)
        process.slot.receives(number)

    def on_lost(self, lost: Lost) -> None:
        """Settle what a child could not."""
        if self.adoption is None:
            return
        unacked = self.adoption.channel.unacked
        unacked.pending.acks.extend(lost.acks)
        if lost.marker:
            self._search(lost.marker)
        for queue, tag, text, reason in lost.unreadable:
            unacked.pending.unreadable += bool(tag)
            unreadable.log_found(unacked.store.keys, queue, tag, text, reason)

    def on_counted(self, counts: dict[str, int]) -> None:
        """Count tasks that children have run for themselves."""
        total = sum(counts.values())
        state.total_count.update(counts)
        state.all_total_count[0] += total
        self._on_count(total)

    # What they leave behind

    def on_exit(self, process: Any) -> None:
        """Settle what the child *process* had, which has ended."""
        slot = process.slot
        self._end_if_settled(process)
        if self.adoption is None:
            return
        pending = self.adoption.channel.unacked.pending
        one, last = slot.message(), slot.state
        if last in (State.FETCHING, State.ENDED) and one is not None and slot.has_ended:
            pending.acks.append(one.tag)
        if last == State.FETCHING:
            self._search(self._marker_of(process))
        elif last == State.TAKEN and one is not None and not (slot.was_received or slot.job):
            self._requeue(one.tag)
        elif last == State.RUNNING and not slot.job:
            self._claim(process, slot.number)

    def _requeue(self, tag: str) -> None:
        """Requeue what has not started, now or with the next connection."""
        if self.adoption is None:
            return
        unacked, now = self.adoption.channel.unacked, monotonic()
        if unacked.link.is_connected():
            try:
                # Not as what an earlier connection left: of that, what was fetched while the
                # server's clock is asked is taken for another worker's.
                unacked.restore.one(tag, unchanged=True)
            except unacked.store.errors as error:
                logger.debug("a message is requeued later: %s", error)
            else:
                return
        unacked.pending.restores.append((tag, now))

    def _search(self, marker: str) -> None:
        assert self.adoption is not None  # noqa: S101 - narrows for the type checker
        owners = self.adoption.channel.unacked.pending.orphaned_owners
        owners.append((marker, monotonic() + ORPHAN_SECONDS))

    def _marker_of(self, process: Any) -> str:
        assert self.adoption is not None  # noqa: S101 - narrows for the type checker
        owner = owner_json(
            process.slot.fetched_at,
            reports=True,
            lease=self.adoption.channel.unacked.timing.lease,
            pid=os.getpid(),
            child=process.pid,
        )
        return f"{MARKER.decode()}{owner}"
