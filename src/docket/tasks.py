"""The tasks: `fetch` for the network (queue io_bound), `read` for the CPU (queue celery)."""

from pathlib import Path
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery import Task, shared_task
from celery.signals import task_failure
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from docket import jobs
from docket.fetching import download
from docket.isolation import run_apart
from docket.limits import Limits
from docket.media import StoredFile, store
from docket.models import Job
from docket.reading import Contents, read_pdf
from docket.states import DocumentError, State

LIMITS = Limits.current()

# While Redis restarts, `fetch` keeps trying to send `read`, for a minute or so.
_SEND_POLICY = {
    "max_retries": 40,
    "interval_start": 0.1,
    "interval_step": 0.3,
    "interval_max": 2.0,
}


class JobTask(Task):  # type: ignore[type-arg]  # Celery 5.6 cannot subscript it
    """
    A task of one job: whatever goes wrong, the job ends.

    The database may be away for a while; then the task is tried again.
    """

    ignore_result = True
    autoretry_for = (OperationalError, InterfaceError)
    retry_backoff = True
    retry_backoff_max = 60
    max_retries = 8

    def on_failure(
        self,
        exc: BaseException,
        task_id: str,  # noqa: ARG002
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        einfo: ExceptionInfo,  # noqa: ARG002
    ) -> None:
        """End the job of a task that raised; Celery calls this where it knows."""
        _give_up(exc, job_of(args, kwargs))


def job_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Return the job that a task was called with."""
    return int(kwargs["job_id"] if "job_id" in kwargs else args[0])


@shared_task(base=JobTask, time_limit=LIMITS.fetch_seconds + LIMITS.margin_seconds)
def fetch(job_id: int) -> None:
    """Fetch the file of a job, then have it read."""
    job = Job.objects.get(pk=job_id)
    outcome: StoredFile | DocumentError | None = None
    if job.state == Job.State.QUEUED:
        # Hundreds of fetches wait for servers at once; none of them may keep
        # one of the few connections to PostgreSQL meanwhile. The close costs no connect:
        # the worker keeps it, as good as new, for this task or another.
        _close_connection()
        root = Path(settings.MEDIA_ROOT)
        try:
            outcome = download(job.url, LIMITS, lambda chunks: store(root, chunks))
        except DocumentError as error:
            outcome = error
    jobs.record_fetch(job_id, outcome, lambda: _send_read(job_id))


@shared_task(base=JobTask, time_limit=LIMITS.read_seconds + LIMITS.margin_seconds)
def read(job_id: int) -> None:
    """Read the text of a job's file into the document."""
    job = jobs.begin_read(job_id)
    outcome: Contents | DocumentError | None = None
    if job.state != Job.State.ENDED:
        try:
            outcome = _read(job)
        except DocumentError as error:
            outcome = error
    jobs.record_read(job_id, job.document.sha256, outcome)


@shared_task(
    ignore_result=True, autoretry_for=(OperationalError, InterfaceError), retry_backoff=True
)
def give_up(job_id: int, state: str, reason: str) -> None:
    """End a job in whose name a worker's main process speaks."""
    jobs.give_up(job_id, DocumentError(State(state), reason))


@task_failure.connect
def end_job_of_lost_worker(
    sender: object = None,
    exception: BaseException | None = None,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    **_: object,
) -> None:
    """End the job of a process that died: then Celery does not call on_failure."""
    if isinstance(sender, JobTask) and isinstance(exception, WorkerLostError):
        _give_up(exception, job_of(args, kwargs or {}))


def _give_up(error: BaseException, job_id: int) -> None:
    if isinstance(error, TimeLimitExceeded | SoftTimeLimitExceeded):
        outcome = DocumentError(State.TOO_SLOW, "the task was ended at its time limit")
    elif isinstance(error, WorkerLostError):
        outcome = DocumentError(State.FAILED, f"the process that ran the task died: {error}")
    else:
        outcome = DocumentError(State.FAILED, f"{type(error).__name__}: {error}")
    if isinstance(error, TimeLimitExceeded | WorkerLostError):
        # This is the worker's main process, which must not wait for PostgreSQL
        # (nor keep a connection to it when it forks the next child).
        give_up.delay(job_id, outcome.state.value, outcome.reason)
    else:
        jobs.give_up(job_id, outcome)


def _read(job: Job) -> Contents:
    if job.read_starts > LIMITS.read_starts:
        message = f"reading it has ended the worker {LIMITS.read_starts} times"
        raise DocumentError(State.BROKEN, message)
    path = Path(settings.MEDIA_ROOT) / str(job.document.file)
    return run_apart(
        lambda: read_pdf(path), seconds=LIMITS.read_seconds, memory=LIMITS.read_memory_bytes
    )


def _send_read(job_id: int) -> None:
    read.apply_async((job_id,), retry_policy=_SEND_POLICY)


def _close_connection() -> None:
    if not connection.in_atomic_block:
        connection.close()
