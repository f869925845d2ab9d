"""
Makes Celery's request of a message that a child has fetched for itself, as if it had been received.

The request is active, and the pool has its job: what Celery, and we, do with a task that runs
is done with it. Nothing is checked that is checked before a task starts: it runs.
"""

import time
from typing import Any

from billiard import pool as billiard_pool
from celery import signals
from celery.worker import request as celery_request
from celery.worker import state as worker_state
from vine import promise

from task_server.transport.unacked.prefetched import Message
from task_server.worker.direct.slot import Fetched

billiard: Any = billiard_pool
state: Any = worker_state
requests: Any = celery_request


class Adoption:
    """
    Adopts through one connection of *consumer*, which may be lost by now.

    Args:
        controller: Celery's worker.
    """

    def __init__(self, controller: Any, consumer: Any) -> None:
        self._controller = controller
        self._consumer = consumer
        self.channel = consumer.task_consumer.channel
        self._accept = consumer.task_consumer.accept

    def new_job(self) -> Any:
        """Return a job of the pool that nothing is written for."""
        pool = self._controller.pool
        return billiard.ApplyResult(
            pool._pool._cache,  # noqa: SLF001 - billiard has no other way
            None,
            callbacks_propagate=pool.callbacks_propagate,
        )

    def start(self, job: Any, one: Fetched, process: Any, started: float) -> None:
        """
        Let *job* be that of *one*, which *process* runs since *started*.

        Raises:
            Exception: It is no message of a task; a child would not run it.
        """
        request = self._request(one)
        signals.task_received.send(sender=self._consumer, request=request)
        state.task_reserved(request)
        self._fill(job, request, time.monotonic() - started)
        job._write_to = process  # noqa: SLF001 - the pool's own
        semaphore = self._controller.semaphore
        semaphore.value = max(semaphore.value - 1, 0)
        job._ack(None, started, process.pid, None)  # noqa: SLF001 - as its result handler does

    def _request(self, one: Fetched) -> Any:
        consumer, channel = self._consumer, self.channel
        payload = Message(one.queue, one.tag, one.text, one.list_key, one.marker).decoded()
        registered = channel.unacked.delivered.registered
        registered.add(one.tag)
        try:
            message = channel.Message(payload, channel=channel)
            channel.qos.append(message, one.tag)
        finally:
            registered.discard(one.tag)
        message.accept = self._accept
        app = consumer.app
        return requests.Request(
            message,
            on_ack=promise(consumer.call_soon, (message.ack_log_error,)),
            on_reject=promise(consumer.call_soon, (message.reject_log_error,)),
            hostname=consumer.hostname,
            eventer=consumer.event_dispatcher,
            app=app,
            task=app.tasks[message.headers["task"]],
            connection_errors=consumer.connection_errors,
            body=message.body,
            headers=message.headers,
            decoded=False,
            utc=app.uses_utc_timezone(),
        )

    def _fill(self, job: Any, request: Any, elapsed: float) -> None:
        pool, task = self._controller.pool._pool, request.task  # noqa: SLF001 - as above
        hard, soft = request.time_limits
        job.correlation_id = request.id
        job._callback = request.on_success  # noqa: SLF001 - its arguments, which are known now
        job._error_callback = request.on_failure  # noqa: SLF001
        job._accept_callback = request.on_accepted  # noqa: SLF001
        job._timeout_callback = request.on_timeout  # noqa: SLF001
        job._soft_timeout = soft or task.soft_time_limit or pool.soft_timeout  # noqa: SLF001
        job._timeout = hard or task.time_limit or pool.timeout  # noqa: SLF001
        job._on_timeout_cancel = pool.on_timeout_cancel  # noqa: SLF001

        def set_timeouts(job: Any, soft: Any, hard: Any) -> None:
            # The task has run for a while.
            left = [limit and max(limit - elapsed, 0.001) for limit in (soft, hard)]
            pool.on_timeout_set(job, *left)

        job._on_timeout_set = set_timeouts  # noqa: SLF001
        request._apply_result = requests.ref(job)  # noqa: SLF001
