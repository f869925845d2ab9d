"""
The stop of a worker: it fetches nothing more, lets tasks finish, and hands back the rest.

Celery's own stop waits for the running tasks without a bound, and its cold stop
loses tasks or hangs under gevent. Here the worker's loop goes on turning until
no task runs any more, so that results, acknowledgements and heartbeats take
their usual way; only then is Celery told to stop, which finds nothing left.
"""

import logging
import os
import signal
import time
from types import FrameType
from typing import Any, Protocol

from celery import signals
from celery.worker import state as worker_state

from task_server.launch import early_stop, restart
from task_server.launch.spec import WorkerSpec
from task_server.worker.patches import patch
from task_server.worker.requests import InHand, cancel_scheduled
from task_server.worker.shutdown.requeue import give_back, requeue
from task_server.worker.shutdown.signals import WakePipe, restarts
from task_server.worker.status.heartbeat import Heart

logger = logging.getLogger(__name__)

state: Any = worker_state

#: An answer to the last BRPOP comes within its time-out of a second.
LAST_ANSWER_SECONDS = 1.5


class Tasks(Protocol):
    """The tasks of a pool, see `pool_prefork` and `pool_gevent`."""

    def running(self, requests: Any) -> list[Any]: ...
    def withdraw(self, requests: Any) -> list[Any]: ...
    def stop(self, requests: Any) -> list[Any]: ...


class Drain:
    """
    The one stop of this process.

    Attributes:
        wake: Readable when the loop should call `step`.

        done: Readable when nothing runs and nothing is held any more.

        tasks: The pool's tasks, once there is a pool.

        node: Name of the worker, once it is known.
    """

    def __init__(self, spec: WorkerSpec, heart: Heart) -> None:
        self.wake = WakePipe()
        self.done = WakePipe()
        self.tasks: Tasks | None = None
        self.in_hand = InHand()
        self._seconds = spec.drain_seconds
        self._timing = spec.timing
        self._heart = heart
        self._consumer: Any = None
        self.node: str | None = None
        self._green = spec.pool_row.green
        self._attached = False
        self._restart = False
        self._wished: float | None = None
        self._news: list[tuple[str, str]] = []
        self._until: float | None = None
        self._end = float("inf")
        self._began: float | None = None
        self._finished = False

    @property
    def asked(self) -> bool:
        """Whether the worker is to stop."""
        return self._until is not None

    @property
    def finished(self) -> bool:
        """Whether the loop has nothing left to do."""
        return self._finished

    def running_tags(self) -> set[str]:
        """Return the delivery tags of the messages whose tasks have begun and not ended."""
        if self.tasks is None:
            return set()
        running = self.tasks.running(self.in_hand.known())
        # Celery forgets what no child has accepted when the connection is lost.
        begun = [request for request in running if request.time_start is not None]
        return {request.message.delivery_tag for request in begun}

    def on_signal(self, number: int) -> None:
        """Take note of the signal *number*; called in its handler."""
        name = signal.Signals(number).name
        if number == signal.SIGHUP and restarts():
            if not self.asked:
                self._restart = True
                early_stop.instead_of_exit(restart.restart)
                self.ask(name)
            return
        if self._restart:
            # Who wants it to stop does not want it to start.
            self._restart = False
            early_stop.cancel_instead_of_exit()
            self._wished = None
        hurry = number == signal.SIGQUIT
        cold = hurry or self._is_second_wish(time.monotonic())
        self.ask(name, hurry=hurry, wish=True)
        self._news.append((name, "Cold" if cold else "Warm"))
        if not self._green and self._consumer is None:
            # No loop turns that could tell it.
            self.tell_news()

    def ask(self, reason: str, *, hurry: bool = False, wish: bool = False) -> None:
        """
        Stop the worker; a second *wish*, or *hurry*, stops the running tasks at once.

        It does not wait, and may be called in a signal handler.
        """
        now = time.monotonic()
        second = self._is_second_wish(now)
        if wish and self._wished is None:
            self._wished = now
        if not self._attached:
            # It has taken nothing, and what it waits for may never come.
            hurry = True
        if self._until is None:
            self._until = now if hurry else now + self._seconds
            self._end = self._until + (
                self._timing.finish if self._attached else self._timing.leave
            )
            self._heart.drain(reason, self._until, restart=self._restart)
        elif hurry or (wish and second):
            self._until = min(self._until, now)
            self._end = min(self._end, now + self._timing.finish)
            self._heart.drain(f"{reason}, at once", self._until, restart=self._restart)
        self._bound(self._end - now)
        if self._consumer is None:
            # No loop turns: the worker starts, or looks for Redis, and asks
            # for this flag every second.
            state.should_stop = os.EX_OK
        self.wake.wake()

    def _is_second_wish(self, now: float) -> bool:
        return self._wished is not None and now - self._wished >= self._timing.debounce

    def tell_news(self) -> None:
        """Send Celery's signal `worker_shutting_down` for each signal that came in."""
        while self._news:
            name, how = self._news.pop(0)
            signals.worker_shutting_down.send(
                sender=self.node, sig=name, how=how, exitcode=os.EX_OK
            )

    def attach(self, consumer: Any) -> None:
        """Go with *consumer*, which is about to consume."""
        self._consumer = consumer
        self._attached = True

    def detach(self) -> None:
        """
        Go without the consumer, which has lost its connection or ends.

        A drain ends here: what a lost connection has taken cannot be given
        back or acknowledged through it. Celery waits for the running tasks,
        until the drain time is over.
        """
        self._consumer = None
        if self._until is not None and not self._finished:
            self.tell_news()
            state.should_stop = os.EX_OK
            self._bound(max(self._timing.leave, self._until - time.monotonic() + 1.0))

    def step(self) -> None:
        """Do what is to be done now; the loop calls it when woken and some times a second."""
        if self._until is None:
            return
        self.tell_news()
        if self._consumer is None or self._finished:
            return
        assert self.tasks is not None  # noqa: S101 - the pool is there before the consumer
        if self._began is None:
            self._began = time.monotonic()
            self._stop_fetching(self._consumer, self.tasks)
        now = time.monotonic()
        running = self.tasks.running(self.in_hand.known())
        if running and now < self._until:
            return
        if self._awaits_answer() and now < self._began + LAST_ANSWER_SECONDS:
            return
        # Under gevent others run while this waits, and may call it again.
        self._finished = True
        unfinished = self.tasks.stop(running) if running else []
        self._hand_back_stopped(unfinished)
        state.should_stop = os.EX_OK
        self._bound(self._timing.finish)
        self.done.wake()
        self.wake.wake()

    def _stop_fetching(self, consumer: Any, tasks: Tasks) -> None:
        """Take no new message, and give back those that no task runs for."""
        patch(consumer, "on_task_request", self._refuse)
        patch(consumer.task_consumer, "on_message", self._return)
        consumer.task_consumer.cancel()
        self._heart.beat()
        waiting = tasks.withdraw(self.in_hand)
        cancel_scheduled(consumer.timer)
        for bucket in consumer.task_buckets.values():
            if bucket:
                bucket.clear_pending()
        back = give_back(waiting, self._errors)
        assert self._until is not None  # noqa: S101 - narrows for the type checker
        logger.warning(
            "draining (%s): %d tasks handed back, %d running for up to %.0f s",
            self._heart.reason,
            len(back),
            len(tasks.running(self.in_hand.known())),
            max(0.0, self._until - time.monotonic()),
        )

    def _hand_back_stopped(self, unfinished: list[Any]) -> None:
        """Give back the tasks that were stopped, and any that came in last."""
        for request in unfinished:
            if request.acknowledged:
                logger.error(
                    "stopped %s[%s] after the drain time; it was acknowledged before it ran "
                    "(acks_late=False), so it does not run again",
                    request.name,
                    request.id,
                )
        back = give_back(list(self.in_hand), self._errors)
        if back:
            names = ", ".join(f"{request.name}[{request.id}]" for request in back[:20])
            logger.warning("%d tasks stopped and handed back: %s", len(back), names)

    def _refuse(self, request: Any) -> None:
        """Take the place of starting *request*, whose time has come."""
        give_back([request], self._errors)

    def _return(self, message: Any) -> None:
        """Take the place of receiving *message*, which was on its way."""
        try:
            requeue(message)
        except self._errors as error:
            logger.warning("a message stays registered as unacked: %s", error)

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        consumer = self._consumer
        lost = () if consumer is None else consumer.connection_errors + consumer.channel_errors
        return (OSError, *lost)

    def _awaits_answer(self) -> bool:
        """Whether a BRPOP is under way, whose answer may be a message."""
        task_consumer = self._consumer.task_consumer
        return bool(task_consumer and getattr(task_consumer.channel, "_in_poll", False))

    def _bound(self, seconds: float) -> None:
        """
        End the process in *seconds* whatever it hangs in, and leave the rest to others.

        Never later than was promised at the first signal, whatever hangs before.
        """
        left = min(seconds, self._end - time.monotonic())
        signal.signal(signal.SIGALRM, self._give_up)
        # Zero would disarm it.
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.01))

    def _give_up(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's shape
        # A logger may be what it hangs in.
        os.write(
            2,
            b"task-server: the stop took too long and ends here; what is not handed back "
            b"stays registered as unacked until its lease, or the visibility timeout, is over\n"
            if self._attached
            else b"task-server: the stop took too long and ends here; no task was taken\n",
        )
        self._heart.remove()
        if self._restart:
            restart.restart()
        os._exit(os.EX_OK)
