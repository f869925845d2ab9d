"""
Stops a worker: it stops fetching, lets running tasks finish, and requeues the rest.

Celery's warm shutdown waits for the running tasks without a limit, and its cold
shutdown loses tasks or hangs under gevent. Here the worker's event loop runs until
no task does, so that results, acknowledgements and heartbeats are sent as usual;
only then is Celery stopped, with nothing left to do.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from celery import signals
from celery.worker import state as worker_state

from task_server.launch import early_stop, restart
from task_server.launch.spec import WorkerSpec
from task_server.worker.patching import patch
from task_server.worker.requests import ReceivedRequests, cancel_scheduled
from task_server.worker.shutdown.requeue import requeue, requeue_requests
from task_server.worker.shutdown.signals import SelfPipe, restarts
from task_server.worker.status.heartbeat import HeartbeatWriter

logger = logging.getLogger(__name__)

state: Any = worker_state


class Tasks(Protocol):
    """The tasks of a pool, see `pools.prefork` and `pools.gevent`."""

    def running(self, requests: Any) -> list[Any]: ...
    def cancel_pending(self, requests: Any) -> list[Any]: ...
    def stop(self, requests: Any) -> list[Any]: ...


class Drain:
    """
    The shutdown of this process; there is one.

    Attributes:
        wake: Readable when the loop should call `step`.

        done: Readable when nothing runs and nothing is unacknowledged any more.

        tasks: The pool's tasks, once there is a pool.

        node: Name of the worker, once it is known.

        is_settled: Whether no child has, or gets, a message that is not known here.

    Args:
        release_claims: Releases the chords that requests have claimed.
    """

    def __init__(
        self, spec: WorkerSpec, heartbeat: HeartbeatWriter, release_claims: Callable[[Any], None]
    ) -> None:
        self.wake = SelfPipe()
        self.done = SelfPipe()
        self.tasks: Tasks | None = None
        self.received = ReceivedRequests()
        self._seconds = spec.drain_seconds
        self._timing = spec.timing
        self._heartbeat = heartbeat
        self._release_claims = release_claims
        self._consumer: Any = None
        self.node: str | None = None
        self.is_settled: Callable[[], bool] = lambda: True
        self._green = spec.pool_row.green
        self._attached = False
        self._restarts = False
        self._requested_at: float | None = None
        self._unsent: list[tuple[str, str]] = []
        self._deadline: float | None = None
        self._abort_at = float("inf")
        self._started_at: float | None = None
        self._finished = False

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._deadline is not None

    @property
    def finished(self) -> bool:
        """Whether the loop has nothing left to do."""
        return self._finished

    def running_tags(self) -> set[str]:
        """
        Return the delivery tags of the messages whose tasks are running.

        Also of those that have not said yet that they start: what a child was sent, and what
        has its greenlet, runs though the connection is lost. Redelivered, it would run twice.
        """
        return {request.message.delivery_tag for request in self._running()}

    def started_tags(self) -> set[str]:
        """Return the delivery tags of the messages whose tasks have said that they start."""
        running = self._running()
        return {one.message.delivery_tag for one in running if one.time_start is not None}

    def _running(self) -> list[Any]:
        return [] if self.tasks is None else self.tasks.running(self.received.all())

    def on_signal(self, number: int) -> None:
        """Request what the signal *number* asks for; called in its handler."""
        name = signal.Signals(number).name
        if number == signal.SIGHUP and restarts():
            if not self.requested:
                self._restarts = True
                early_stop.instead_of_exit(restart.restart)
                self.request(name)
            return
        if self._restarts:
            # A stop cancels the restart.
            self._restarts = False
            early_stop.cancel_instead_of_exit()
            self._requested_at = None
        force = number == signal.SIGQUIT
        cold = force or self._is_second_request(time.monotonic())
        self.request(name, force=force, explicit=True)
        self._unsent.append((name, "Cold" if cold else "Warm"))
        if not self._green and self._consumer is None:
            # No event loop runs that could send them.
            self.send_shutdown_signals()

    def request(self, reason: str, *, force: bool = False, explicit: bool = False) -> None:
        """
        Request a stop; a second *explicit* request, or *force*, stops running tasks at once.

        It does not wait, and may be called in a signal handler. A request is explicit
        when an operator makes it, by a signal or remotely.
        """
        now = time.monotonic()
        second = self._is_second_request(now)
        if explicit and self._requested_at is None:
            self._requested_at = now
        if not self._attached:
            # It has received nothing, and what it waits for may never come.
            force = True
        if self._deadline is None:
            self._deadline = now if force else now + self._seconds
            self._abort_at = self._deadline + (
                self._timing.finish if self._attached else self._timing.leave
            )
            self._heartbeat.drain(reason, self._deadline, restart=self._restarts)
        elif force or (explicit and second):
            self._deadline = min(self._deadline, now)
            self._abort_at = min(self._abort_at, now + self._timing.finish)
            self._heartbeat.drain(f"{reason}, at once", self._deadline, restart=self._restarts)
        self._arm_alarm(self._abort_at - now)
        if self._consumer is None:
            # No event loop runs: the worker starts or connects to Redis, and
            # checks this flag every second.
            state.should_stop = os.EX_OK
        self.wake.wake()

    def _is_second_request(self, now: float) -> bool:
        return self._requested_at is not None and now - self._requested_at >= self._timing.debounce

    def send_shutdown_signals(self) -> None:
        """Send Celery's signal `worker_shutting_down` for each signal that came in."""
        while self._unsent:
            name, how = self._unsent.pop(0)
            signals.worker_shutting_down.send(
                sender=self.node, sig=name, how=how, exitcode=os.EX_OK
            )

    def attach(self, consumer: Any) -> None:
        """Use *consumer*, which is about to consume."""
        self._consumer = consumer
        self._attached = True

    def detach(self) -> None:
        """
        Drop the consumer, which has lost its connection or ends.

        A drain ends here: nothing can be requeued or acknowledged through a lost
        connection. Celery waits for the running tasks, until the drain time is over.
        """
        self._consumer = None
        if self._deadline is not None and not self._finished:
            self.send_shutdown_signals()
            state.should_stop = os.EX_OK
            self._arm_alarm(max(self._timing.leave, self._deadline - time.monotonic() + 1.0))

    def step(self) -> None:
        """Drain one step further; the loop calls it when woken and several times a second."""
        if self._deadline is None:
            return
        self.send_shutdown_signals()
        if self._consumer is None or self._finished:
            return
        assert self.tasks is not None  # noqa: S101 - the pool is there before the consumer
        if self._started_at is None:
            self._started_at = time.monotonic()
            self._stop_fetching(self._consumer, self.tasks)
        now = time.monotonic()
        running = self.tasks.running(self.received.all())
        if running and now < self._deadline:
            return
        if (
            self._is_fetching() or not self.is_settled()
        ) and now < self._started_at + self._timing.last_answer:
            return
        # Under gevent other greenlets run while this waits, and may call it again.
        self._finished = True
        unfinished = self.tasks.stop(running) if running else []
        self._requeue_stopped(unfinished)
        state.should_stop = os.EX_OK
        self._arm_alarm(self._timing.finish)
        self.done.wake()
        self.wake.wake()

    def _stop_fetching(self, consumer: Any, tasks: Tasks) -> None:
        """Stop consuming, and requeue the messages whose tasks have not started."""
        patch(consumer, "on_task_request", self._requeue_request)
        patch(consumer.task_consumer, "on_message", self._requeue_message)
        consumer.task_consumer.cancel()
        self._heartbeat.write()
        waiting = tasks.cancel_pending(self.received)
        cancel_scheduled(consumer.timer)
        for bucket in consumer.task_buckets.values():
            if bucket:
                bucket.clear_pending()
        back = requeue_requests(waiting, self._errors)
        assert self._deadline is not None  # noqa: S101 - narrows for the type checker
        logger.warning(
            "draining (%s): %d tasks requeued, %d running for up to %.0f s",
            self._heartbeat.reason,
            len(back),
            len(tasks.running(self.received.all())),
            max(0.0, self._deadline - time.monotonic()),
        )

    def _requeue_stopped(self, unfinished: list[Any]) -> None:
        """Requeue the tasks that were stopped, and messages that arrived last."""
        self._release_claims([one for one in unfinished if not one.acknowledged])
        for request in unfinished:
            if request.acknowledged:
                logger.error(
                    "stopped %s[%s] after the drain time; it was acknowledged before it ran "
                    "(acks_late=False), so it does not run again",
                    request.name,
                    request.id,
                )
        back = requeue_requests(list(self.received), self._errors)
        if back:
            names = ", ".join(f"{request.name}[{request.id}]" for request in back[:20])
            logger.warning("%d tasks stopped and requeued: %s", len(back), names)

    def _requeue_request(self, request: Any) -> None:
        """Requeue *request*, whose ETA has come, in place of starting it."""
        requeue_requests([request], self._errors)

    def _requeue_message(self, message: Any) -> None:
        """Requeue *message*, which was on its way, in place of receiving it."""
        try:
            requeue(message)
        except self._errors as error:
            logger.warning("a message stays registered as unacked: %s", error)

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        consumer = self._consumer
        lost = () if consumer is None else consumer.connection_errors + consumer.channel_errors
        return (OSError, *lost)

    def _is_fetching(self) -> bool:
        """Whether a BRPOP is pending, whose answer may be a message."""
        task_consumer = self._consumer.task_consumer
        return bool(task_consumer and getattr(task_consumer.channel, "_in_poll", False))

    def _arm_alarm(self, seconds: float) -> None:
        """
        Exit in *seconds*, even if the process hangs.

        Never later than the first signal allowed.
        """
        left = min(seconds, self._abort_at - time.monotonic())
        signal.signal(signal.SIGALRM, self._abort)
        # Zero would disarm it.
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.01))

    def _abort(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's shape
        # It may hang in a logger.
        os.write(
            2,
            b"task-server: the stop took too long and ends here; what is not requeued "
            b"stays registered as unacked until its lease, or the visibility timeout, is over\n"
            if self._attached
            else b"task-server: the stop took too long and ends here; no task was taken\n",
        )
        self._heartbeat.remove()
        if self._restarts:
            restart.restart()
        os._exit(os.EX_OK)
