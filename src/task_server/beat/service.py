"""Beat's loop: hold the lock, run the project's scheduler, or wait until the lock is free."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery import beat as celerys
from celery import signals

from task_server.beat.clock import set_back, shift_intervals
from task_server.beat.faults import database_fault, is_missing_table
from task_server.beat.guard import Guard, LockAwayError, LockLostError
from task_server.beat.lock import Holder, Lock, LockError
from task_server.beat.missed import missed_runs
from task_server.beat.runs import apply_runs
from task_server.beat.signals import OverdueError, StopSignals
from task_server.beat.status import Status
from task_server.errors import ConfigError, Finding, Problem, TaskServerError

logger = logging.getLogger("task_server.beat")

#: Most seconds between two attempts to get the lock, or at what failed.
POLL = 1.0

#: Entries that are reported one by one.
MOST_LINES = 50

#: Seconds to save the schedule when the stop is overdue.
LAST_SECONDS = 4.0


class Beat:
    """
    Runs the scheduler of *service*, Celery's, while *lock* is ours.

    Args:
        lock: None runs it without.

        explain: What is wrong with the broker, by what its client raised.
    """

    def __init__(
        self,
        service: Any,
        lock: Lock | None,
        status: Status,
        stop: StopSignals,
        explain: Callable[[BaseException], Finding],
    ) -> None:
        self._service = service
        self._lock = lock
        self._status = status
        self._signals = stop
        self._explain = explain
        self._scheduler: Any = None
        self._guard = Guard(lock, status.sent)
        self._poll = POLL if lock is None else min(POLL, lock.seconds / 4)
        self._next_tick = 0.0
        self._holder: Holder | None = None
        self._pidbox: Any = None
        # Whether the broker has answered, and whether it may not know our runs.
        self._has_connected = False
        self._may_have_lost = False
        self._offset = time.time() - time.monotonic()

    def run(self) -> None:
        """
        Run until a signal stops it; save the schedule and give the lock up.

        Raises:
            ConfigError: When the broker or the database refuses, at the start.
        """
        signals.beat_init.send(sender=self._service)
        self._start_pidbox()
        try:
            try:
                while self._signals.number is None:
                    self._signals.wait(self._step())
            except OverdueError:
                logger.warning("beat: what it was sending has not ended in time, it is left")
                self._signals.rearm(LAST_SECONDS)
            self._stop()
        except TaskServerError:
            self._give_up()
            raise
        except OverdueError:
            logger.error("beat: ends without having saved all")  # noqa: TRY400
        finally:
            self._signals.finished()
            self._status.remove()

    def _start_pidbox(self) -> None:
        # Celery 5.7 on: the project's beat_enable_remote_control.
        if getattr(self._service, "remote_control", False):
            self._service.effective_max_interval = POLL
            self._pidbox = vars(celerys)["BeatPidbox"](self._service)
            self._pidbox.start()

    def _step(self) -> float:
        """Do what is due; return the seconds until something may be due again."""
        self._status.write_if_due()
        self._service._last_tick = time.monotonic()  # noqa: SLF001 - as its own loop does
        try:
            if self._scheduler is None and not self._take_over():
                return self._poll
            self._follow_clock()
            self._renew()
            delay = self._tick()
        except LockLostError:
            self._step_down()
            return 0.0
        except (LockError, LockAwayError) as error:
            self._report_away(error)
            return self._poll
        if self._status.recovered():
            logger.info("beat: sends again")
        return max(0.0, min(delay, self._status.interval, self._guard.next_renewal()))

    # The lock

    def _take_over(self) -> bool:
        """Get the lock and open the schedule; return whether both succeeded."""
        runs: dict[str, float] = {}
        if self._lock is not None:
            if self._may_have_lost:
                self._lock.add_runs(self._guard.runs)
                self._may_have_lost = False
            holder = self._lock.acquire()
            self._has_connected = True
            if holder is not None:
                self._stand_by(holder)
                # A Redis that loses its data does not lose these.
                self._guard.runs.update(self._lock.runs())
                return False
            runs = self._known_runs(self._lock)
        return self._open(runs)

    def _stand_by(self, holder: Holder) -> None:
        if holder != self._holder:
            logger.info("beat: waits: %s; its lock expires seconds after its death", holder)
        self._holder = holder
        self._status.update(state="standby", holder=str(holder))
        if self._status.recovered():
            logger.info("beat: Redis answers again")

    def _known_runs(self, lock: Lock) -> dict[str, float]:
        """Return the runs of all beats before, once a server that lost data has them again."""
        self._guard.renewed()
        runs = lock.runs()
        lost = {name for name, at in self._guard.runs.items() if runs.get(name, 0.0) < at}
        if lost:
            lock.add_runs(self._guard.runs)
            if self._holder is not None:
                logger.warning(
                    "beat: Redis has lost data: nothing is sent for %g s, in which a beat that "
                    "still runs records what it sent",
                    lock.seconds,
                )
                self._guard.wait(lock.seconds, self._signals.wait, self._status.write_if_due)
            runs = lock.runs()
        self._guard.runs = dict(runs)
        ahead = lock.clock()
        return {name: at - ahead for name, at in runs.items()}

    def _renew(self) -> None:
        if self._lock is None or self._guard.next_renewal() > 0:
            return
        self._guard.hold()
        if self._may_have_lost:
            self._lock.add_runs(self._guard.runs)
            self._may_have_lost = False

    def _step_down(self) -> None:
        logger.warning(
            "beat: the lock expired, since this process was stopped or Redis was away: nothing is "
            "sent until it is ours again"
        )
        self._may_have_lost = True
        self._close(saving=False)
        self._holder = None
        self._status.update(state="standby", holder="the lock is being taken")

    def _report_away(self, error: Exception | LockAwayError) -> None:
        self._may_have_lost = True
        cause = getattr(error, "cause", error)
        found = self._explain(cause)
        if not found.peer and not self._has_connected:
            raise ConfigError([Problem(found.setting, found.text)])
        if self._status.trouble(found.text):
            logger.error("beat: %s; nothing is sent meanwhile", found.text)

    # The schedule

    def _open(self, runs: dict[str, float]) -> bool:
        """Open the schedule, and report what it missed; return whether that succeeded."""
        try:
            scheduler = self._service.get_scheduler()
            entries = list(scheduler.schedule.values())
        except TaskServerError:
            raise
        except Exception as error:
            fault = database_fault(error)
            if fault is None:
                raise TaskServerError(
                    f"the schedule cannot be read: {type(error).__name__}: {error}"
                ) from error
            if is_missing_table(error):
                raise ConfigError([Problem("beat.scheduler", fault)]) from error
            if self._status.trouble(fault):
                logger.error("beat: %s; nothing is sent meanwhile", fault)  # noqa: TRY400
            # Another host may reach it.
            if self._lock is not None:
                self._lock.release()
            return False
        self._scheduler = self._service.scheduler = scheduler
        self._guard.install(scheduler)
        apply_runs(scheduler, runs)
        self._holder = None
        self._next_tick = 0.0
        self._status.recovered()
        self._status.update(
            state="sending",
            holder=None,
            is_locked=self._lock is not None,
            entries=len(entries),
        )
        word = "entry" if len(entries) == 1 else "entries"
        logger.info(
            "beat: sends now: %d %s, scheduler %s", len(entries), word, type(scheduler).__name__
        )
        self._report_missed(entries)
        return True

    def _report_missed(self, entries: list[Any]) -> None:
        for number, missed in enumerate(missed_runs(entries)):
            if number == MOST_LINES:
                logger.warning("beat: more entries were due while no beat ran")
                return
            logger.warning("beat: %s", missed)

    def _tick(self) -> float:
        """Run the scheduler if it is time; return the seconds until it is again."""
        left = self._next_tick - time.monotonic()
        if left > 0:
            return left
        try:
            delay = float(self._scheduler.tick() or 0.0)
            if delay > 0 and self._scheduler.should_sync():
                self._scheduler._do_sync()  # noqa: SLF001 - as Celery's own loop does
        except Exception as error:
            delay = POLL
            text = database_fault(error) or f"{type(error).__name__}: {error}"
            if self._status.trouble(text):
                logger.error("beat: %s; it is tried again", text, exc_info=True)
            self._next_tick = time.monotonic() + delay
            raise LockAwayError(error) from error
        self._next_tick = time.monotonic() + delay
        return delay

    def _follow_clock(self) -> None:
        """Go on as before when the clock was set back; forward, what is late is due."""
        offset = time.time() - time.monotonic()
        back = set_back(self._offset, offset)
        self._offset = offset
        if back:
            logger.warning("beat: the clock was set back by %.0f s", back)
            shift_intervals(self._scheduler, back)
            self._next_tick = 0.0

    def _close(self, *, saving: bool) -> None:
        """Close the schedule; without *saving* another beat writes it now."""
        scheduler, self._scheduler = self._scheduler, None
        self._service.__dict__.pop("scheduler", None)
        if scheduler is None:
            return
        if not saving:
            scheduler.sync = lambda: None
            getattr(scheduler, "discard", lambda: None)()
            getattr(scheduler, "_dirty", set()).clear()
        try:
            scheduler.close()
        except Exception:
            logger.exception("beat: the schedule cannot be saved")

    def _give_up(self) -> None:
        """Release the lock, if it is ours: another may have what this one lacks."""
        if self._lock is not None and self._has_connected:
            with suppress(LockError):
                self._lock.release()

    def _stop(self) -> None:
        self._status.stopping()
        held = self._scheduler is not None
        ours = True
        if held and self._lock is not None:
            try:
                ours = self._lock.hold() is not None
            except LockError:
                # Without Redis nobody else writes it.
                ours = True
        self._close(saving=ours)
        if self._lock is not None:
            try:
                if held:
                    self._lock.release()
            except LockError as error:
                logger.warning("beat: the lock stays until it expires: %s", error)
            self._lock.close()
        if self._pidbox is not None:
            self._pidbox.stop()
        logger.info("beat: ends%s", ", its schedule is saved" if held and ours else "")
