"""
Jobs of the pool that are not one of Celery's requests, such as a batch of celery-batches.

A request class of the project's, or a strategy of a task's, may collect messages and
give many of them to the pool as one job, whose end acknowledges all. To Celery such
requests are neither reserved nor active. Here each gets what Celery's own have: the
pool's result and its start time, so that a stop waits for it, and requeues what has
not started.

What is collected cannot be taken from who collects it. If its queue is paused it goes back all
the same, and the job in which it comes later is refused: the others of that job go back too, and
are fetched again.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

from billiard import einfo as billiard_einfo
from celery.app.task import Task
from celery.worker import state as worker_state

from task_server.worker.requests import ReceivedRequests
from task_server.worker.worker_lost import LOST

logger = logging.getLogger(__name__)

einfo: Any = billiard_einfo
state: Any = worker_state

#: How deep in the arguments of a job its messages are searched for.
DEPTH = 4


@dataclass(eq=False)
class Job:
    """
    One job, and the *requests* it is for.

    Attributes:
        started: Whether it runs.

        finished: Whether its requests have their result.

        is_refused: Whether messages are in it that were handed back, beside its requests.
    """

    requests: list[Any]
    started: bool = False
    finished: bool = False
    is_refused: bool = False
    accept: Callable[..., None] | None = None
    callback: Callable[..., None] | None = None

    def accepted(self, *details: Any) -> None:
        """Record that it starts."""
        self.started = True
        for request in self.requests:
            request.time_start = time.time()
        if self.accept is not None:
            self.accept(*details)

    def ended(self, result: Any = None) -> None:
        """Pass its *result* on, unless it is finished."""
        if not self.finished:
            self.finished = True
            if self.callback is not None:
                self.callback(result)


class PoolJobs:
    """The jobs of this worker's pool that are for many requests of *received*."""

    def __init__(self, received: ReceivedRequests) -> None:
        self._received = received
        self._jobs: WeakKeyDictionary[Any, Job] = WeakKeyDictionary()
        self._withdrawn: WeakSet[Any] = WeakSet()
        self._closed = False

    @property
    def running(self) -> list[Job]:
        """The jobs that run."""
        return [job for job in set(self._jobs.values()) if job.started and not job.finished]

    def close(self) -> None:
        """Accept no new job; its messages are requeued."""
        self._closed = True

    def of(self, request: Any) -> Job | None:
        """Return the job of *request*; None if Celery runs it as usual."""
        return self._jobs.get(request)

    def collected(self, requests: Iterable[Any]) -> list[Any]:
        """Return those of *requests* that wait for a job."""
        return [one for one in requests if self.of(one) is None and _is_foreign(one)]

    def withdraw(self, requests: Iterable[Any]) -> list[Any]:
        """Let *requests* not start, which wait for a job; return those that did until now."""
        found = self.collected(requests)
        self._withdrawn.update(found)
        return found

    def start(
        self, apply_async: Callable[..., Any], job: Job, args: Any, options: dict[str, Any]
    ) -> Any:
        """Give *job*, which *args* and *options* describe, to the pool by *apply_async*."""
        if self._closed:
            # A buffer is flushed during the stop.
            return None
        if job.is_refused:
            _hand_back(job.requests)
            return None
        job.accept, job.callback = options.get("accept_callback"), options.get("callback")

        def failed(info: Any = None) -> None:
            error = getattr(info, "exception", info)
            if isinstance(error, einfo.ExceptionWithTraceback):
                error = error.exc
            self.failed(job, error, lost=isinstance(error, LOST))

        options |= {"accept_callback": job.accepted, "callback": job.ended}
        options.setdefault("error_callback", failed)
        result = apply_async(*args, **options)
        for request in job.requests:
            request._apply_result = None if result is None else ref(result)  # noqa: SLF001
        return result

    def job_for(self, arguments: Any) -> Job:
        """Return a new job, for the requests that *arguments* name, else all that wait for one."""
        waiting = self.collected(self._received)
        ids = set(_ids(arguments, DEPTH))
        mine = [one for one in waiting if one.id in ids]
        gone = [one for one in self._withdrawn if one.id in ids]
        if not mine and not gone:
            # It does not say which.
            mine, gone = waiting, list(self._withdrawn)
        self._withdrawn.difference_update(gone)
        job = Job(mine, is_refused=bool(gone))
        for request in job.requests:
            self._jobs[request] = job
        return job

    def failed(self, job: Job, error: BaseException | None, *, lost: bool = False) -> None:
        """
        Fail the requests of *job*, which ended with *error*.

        If its process was *lost* they are requeued, and a crash is counted; otherwise they
        have failed, and are acknowledged here.
        """
        if job.finished:
            return
        job.finished = True
        names = sorted({request.name for request in job.requests})
        logger.error("a job of %d messages for %s: %r", len(job.requests), ", ".join(names), error)
        for request in job.requests:
            if request.acknowledged:
                continue
            if lost and request.task.reject_on_worker_lost:
                crashed = getattr(getattr(request.message.channel, "qos", None), "lost", None)
                if crashed is not None:
                    crashed.add(request.message.delivery_tag)
                request.reject(requeue=True)
            else:
                request.acknowledge()


def request_of(options: dict[str, Any]) -> Any | None:
    """Return Celery's request that a call of the pool with *options* is for; None if it is not."""
    request = getattr(options.get("callback"), "__self__", None)
    return request if hasattr(request, "execute_using_pool") else None


def _hand_back(requests: list[Any]) -> None:
    """Hand *requests* back, of a job that cannot run as it is."""
    by_channel: dict[Any, list[Any]] = {}
    for request in requests:
        request.acknowledged = True
        state.task_ready(request)
        by_channel.setdefault(request.message.channel, []).append(request)
    for channel, some in by_channel.items():
        channel.qos.hand_back([str(one.message.delivery_tag) for one in some])


def _is_foreign(request: Any) -> bool:
    """Whether *request* comes by another strategy than Celery's, which gives it to the pool."""
    return type(request.task).Strategy != Task.Strategy and request._apply_result is None  # noqa: SLF001


def _ids(value: Any, depth: int) -> Iterator[str]:
    """Return what may be the ids of tasks in *value*: texts, and the `id` of objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _ids_in(value.values(), depth)
    elif isinstance(value, list | tuple | set | frozenset):
        yield from _ids_in(value, depth)
    else:
        one = getattr(value, "id", None)
        if isinstance(one, str):
            yield one


def _ids_in(values: Iterable[Any], depth: int) -> Iterator[str]:
    if depth:
        for value in values:
            yield from _ids(value, depth - 1)
