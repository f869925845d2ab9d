"""What a child does between two jobs of the main process: it fetches, and runs, for itself."""

import logging
import sys
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from billiard import pool as billiard_pool
from billiard.einfo import ExceptionInfo
from celery.app import trace

from task_server.transport.store.owner import set_node_name
from task_server.worker.direct.fetch import Fetch, Lost
from task_server.worker.direct.judge import Call, Judge
from task_server.worker.direct.notice import Notice, Terms
from task_server.worker.direct.slot import Fetched, Slot

pool: Any = billiard_pool

#: Celery's own, so that a task is logged as ever.
logger: Final = logging.getLogger("celery.worker.strategy")

#: Seconds between two counts for the main process while there is work.
COUNT_SECONDS: Final = 1.0

#: What a child says to the main process, beside billiard's own words.
FREE, HANDED, FAILED, LOST, COUNTED = range(100, 105)


class Recycled(Exception):  # noqa: N818 - not an error
    """The child has run as many tasks, or has as much memory, as it may."""


class Loop:
    """
    The loop of one child.

    Args:
        put: Says something to the main process: a word, and its arguments.

        pid: Of the child.

        limit: Tasks that it may run; None for no limit.

        memory: KiB that it may have; 0 for no limit.

    Attributes:
        jobs: The jobs of the main process that it has run.
    """

    def __init__(
        self,
        app: Any,
        slot: Slot,
        notice: Notice,
        put: Callable[[Any], None],
        *,
        pid: int,
        writes_to: int,
        limit: int | None,
        memory: int,
    ) -> None:
        self._app = app
        self._slot = slot
        self._notice = notice
        self._put = put
        self._pid = pid
        self._writes_to = writes_to
        self._limit = limit
        self._memory = memory
        self._fetch = Fetch(app, slot, self._tell)
        self._judge: Judge | None = None
        self._revision = 0
        self._terms = Terms()
        self._trace: Any = None
        self._counts: Counter[str] = Counter()
        self._counted_at = 0.0
        self._run = 0
        self.jobs = 0
        self.is_in_task = True

    def work(self) -> None:
        """
        Run what there is, until there is nothing or the main process wants this child.

        Raises:
            SystemExit: The child has done enough, or a task has raised it.
        """
        self.is_in_task = False
        try:
            self._work()
            # A child that the main process wants, or that it has adopted from, as well.
            self._check()
        except Recycled:
            self._settle()
            self._say_counts()
            sys.exit(pool.EX_RECYCLE)
        self._leave()
        self.is_in_task = True

    def _work(self) -> None:
        if not self._may_fetch() or not self._fetch.is_ready():
            return
        while self._may_fetch():
            one = self._fetch.next(self._terms)
            if one is None or not self._take(one):
                return

    def _settle(self) -> None:
        self._fetch.flush()
        if not self._slot.is_idle:
            self._slot.rests()

    def _leave(self) -> None:
        """Settle what is left, and say that this child is free."""
        self._settle()
        counts, self._counts = dict(self._counts), Counter()
        self._put((FREE, (self._pid, self._writes_to, counts)))

    def _may_fetch(self) -> bool:
        notice = self._notice
        if notice.wanted:
            return False
        if notice.revision != self._revision:
            self._look()
        self._check()
        return self._terms.open and bool(self._terms.queues)

    def _look(self) -> None:
        """Read what the main process tells."""
        self._revision, self._terms = self._notice.read()
        if not self._terms.open:
            return
        set_node_name(self._terms.node)
        if self._judge is None:
            self._judge = Judge(self._app, self._terms.node)
            fast = self._app.use_fast_trace_task
            self._trace = trace.fast_trace_task if fast else trace.trace_task_ret
        self._judge.use(self._terms)

    def _check(self) -> None:
        """End this child when billiard would."""
        if self._limit and self.jobs + self._run >= self._limit:
            raise Recycled
        if self._memory and self._run:
            used = pool.mem_rss()
            if used > self._memory:
                pool.warning(pool.MAXMEM_USED_FMT.format(used, self._memory))
                raise Recycled

    def _take(self, one: Fetched) -> bool:
        """Run *one*, or hand it over; return whether to go on."""
        slot, judge = self._slot, self._judge
        number = slot.takes(one)
        # What is not in the slot nobody would renew, nor watch.
        call = judge.call(one, slot.starts) if judge is not None and slot.is_known else None
        if call is None:
            return self._hand_over(number, one)
        # Whoever revokes a task adopts first what runs, and then tells.
        if self._notice.revision != self._revision:
            self._look()
        if not (self._terms.open and judge is not None and judge.may_run(call)):
            if not slot.hesitates():
                return self._hand_over(number, one)
            slot.starts()
        return self._run_task(number, one, call)

    def _hand_over(self, number: int, one: Fetched) -> bool:
        self._slot.hesitates()
        self._put((HANDED, (self._pid, number, one)))
        self._slot.rests(keep=True)
        return False

    def _run_task(self, number: int, one: Fetched, call: Call) -> bool:
        self._log_received(call)
        raised: BaseException | None = None
        self.is_in_task = True
        try:
            result = (True, self._trace(call.name, call.id, call.request, call.body, None, None))
        except BaseException as error:
            if _is_terminated():
                raise
            result = (False, ExceptionInfo())
            if isinstance(error, SystemExit | KeyboardInterrupt):
                raised = error
        finally:
            self.is_in_task = False
        self._run += 1
        goes_on = True
        if job := self._slot.reports():
            # The main process acknowledges it; what it sends because of a time limit meanwhile
            # must not meet the next task.
            self._send(pool.READY, (job, None), result, (self._writes_to,))
            self._slot.rests()
            goes_on = False
        elif result[0] and not result[1][0]:
            self._slot.ends()
            self._fetch.acks.append(one.tag)
            self._count(call.name)
        else:
            goes_on = False
            self._send(FAILED, (self._pid, number), result, ())
            self._slot.rests(keep=True)
        if raised is not None:
            raise raised
        return goes_on

    def _send(
        self, word: int, before: tuple[Any, ...], result: Any, after: tuple[Any, ...]
    ) -> None:
        """Send *result*, as billiard does."""
        try:
            self._put((word, (*before, result, *after)))
        except Exception as error:  # noqa: BLE001 - whatever cannot be pickled
            wrapped = pool.MaybeEncodingError(error, result[1])
            info = ExceptionInfo((pool.MaybeEncodingError, wrapped, error.__traceback__))
            self._put((word, (*before, (False, info), *after)))

    def _tell(self, lost: Lost) -> None:
        self._put((LOST, (self._pid, lost)))

    def _count(self, name: str) -> None:
        self._counts[name] += 1
        now = monotonic()
        if now - self._counted_at >= COUNT_SECONDS:
            self._counted_at = now
            self._say_counts()

    def _say_counts(self) -> None:
        counts, self._counts = dict(self._counts), Counter()
        self._put((COUNTED, (self._pid, counts)))

    def _log_received(self, call: Call) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        request = call.request
        context = {
            "id": call.id,
            "name": call.name,
            "args": request.get("argsrepr", ""),
            "kwargs": request.get("kwargsrepr", ""),
            "eta": None,
        }
        logger.info(trace.LOG_RECEIVED, context, extra={"data": context})


def _is_terminated() -> bool:
    """Return whether billiard's handler ends this process."""
    fired = getattr(pool, "terminate_handler_fired", None)
    return fired is not None and bool(fired())
