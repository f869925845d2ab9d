"""
The steps of a job in the database, each in one short transaction.

A message may be delivered twice, and two workers may run it at once. So each
step locks the row of the job, counts the run, and changes the rest only if no
other run has done so. The locks are taken in one order: job, then document.

Each step notifies its batch on the channel CHANNEL, with the transaction:
``<batch> <job> fetched|read|ended``.
"""

from collections.abc import Callable
from typing import Literal

from django.contrib.postgres.search import SearchVector
from django.db import OperationalError, connection, transaction
from django.db.models import F, Value
from django.utils import timezone

from docket.media import StoredFile
from docket.models import Document, Job
from docket.reading import Contents, storable
from docket.states import DocumentError, State

CHANNEL = "docket_jobs"

#: The configuration of PostgreSQL's text search, of documents and of queries.
SEARCH_CONFIG = "english"

Step = Literal["fetched", "read", "ended"]

# SQLSTATE program_limit_exceeded: a tsvector has at most 1 MB.
_PROGRAM_LIMIT_EXCEEDED = "54000"


def record_fetch(
    job_id: int, outcome: StoredFile | DocumentError | None, send_read: Callable[[], object]
) -> None:
    """
    Count a run of fetch and record its outcome; None if an earlier run did.

    *send_read* is called after the commit unless the job has ended, by every
    run: the run that fetched the file may have died before it sent.
    """
    with transaction.atomic():
        job = _counted(job_id, "fetch_runs")
        if job.state == Job.State.QUEUED and outcome is not None:
            document = _locked_document(job)
            if isinstance(outcome, DocumentError):
                _fail(document, outcome)
                _end(job)
            else:
                if document.sha256 != outcome.sha256:
                    _forget_contents(document)
                document.sha256, document.file.name = outcome.sha256, outcome.name
                document.save()
                job.state, job.fetched_at = Job.State.FETCHED, timezone.now()
                job.save(update_fields=["state", "fetched_at"])
                _tell(job, "fetched")
        if job.state == Job.State.FETCHED:
            transaction.on_commit(send_read)


def begin_read(job_id: int) -> Job:
    """Count a beginning of read, and return the job with its document."""
    Job.objects.filter(pk=job_id).update(read_starts=F("read_starts") + 1)
    return Job.objects.select_related("document").defer("document__text").get(pk=job_id)


def record_read(job_id: int, sha256: str, outcome: Contents | DocumentError | None) -> None:
    """
    Count a run of read, record its outcome and end the job; None if it had ended.

    *sha256* is of the file that was read. If the document has another file by
    now, then another job fetched it and records what that one says.
    """
    with transaction.atomic():
        job = _counted(job_id, "read_runs")
        _tell(job, "read")
        if job.state == Job.State.ENDED or outcome is None:
            return
        document = _locked_document(job)
        if document.sha256 == sha256:
            if isinstance(outcome, DocumentError):
                _forget_contents(document)
                _fail(document, outcome)
            else:
                document.pages, document.words = outcome.pages, outcome.words
                document.state, document.error = State.DONE, ""
                known = Document.objects.filter(pk=document.pk, search__isnull=False)
                # Another pass over the same text need not write it again:
                # indexing costs more than reading the PDF.
                changed = not known.filter(text=outcome.text).exists()
                if changed:
                    document.text = outcome.text
                document.save()
                if changed:
                    _index(document)
        _end(job)


def give_up(job_id: int, outcome: DocumentError) -> None:
    """End a job whose task could not record an outcome itself."""
    with transaction.atomic():
        job = Job.objects.select_for_update().filter(pk=job_id).first()
        if job is not None and job.state != Job.State.ENDED:
            _fail(_locked_document(job), outcome)
            _end(job)


def _counted(job_id: int, counter: Literal["fetch_runs", "read_runs"]) -> Job:
    """Lock the job, count a completed run, and return it."""
    job = Job.objects.select_for_update().get(pk=job_id)
    Job.objects.filter(pk=job_id).update(**{counter: F(counter) + 1})
    return job


def _locked_document(job: Job) -> Document:
    """Lock the document of *job*, and return it; `save()` writes what was loaded or assigned."""
    # The text and its index may have megabytes, which most steps leave alone.
    return Document.objects.select_for_update().defer("text", "search").get(pk=job.document_id)


def _fail(document: Document, outcome: DocumentError) -> None:
    document.state, document.error = outcome.state, storable(outcome.reason)
    if outcome.pages is not None:
        document.pages = outcome.pages
    document.save()


def _forget_contents(document: Document) -> None:
    document.pages = document.words = document.search = None
    document.text = ""


def _end(job: Job) -> None:
    job.state, job.ended_at = Job.State.ENDED, timezone.now()
    job.save(update_fields=["state", "ended_at"])
    _tell(job, "ended")


def _index(document: Document) -> None:
    """
    Index the text, or as much of its beginning as PostgreSQL takes.

    A tsvector is limited to 1 MB; how much text that is depends on how often
    its words repeat. Halving finds a prefix that fits in a few steps.
    """
    text = document.text
    while True:
        name = SearchVector(Value(document.name), weight="A", config=SEARCH_CONFIG)
        body = SearchVector(Value(text), weight="B", config=SEARCH_CONFIG)
        try:
            # A savepoint: without it, the error would end the transaction.
            with transaction.atomic():
                Document.objects.filter(pk=document.pk).update(search=name + body)
        except OperationalError as error:
            if _sqlstate(error) != _PROGRAM_LIMIT_EXCEEDED or not text:
                raise
            text = text[: len(text) // 2]
        else:
            return


def _sqlstate(error: OperationalError) -> str | None:
    """Return the SQLSTATE that psycopg (sqlstate) or psycopg2 (pgcode) gives."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def _tell(job: Job, step: Step) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{job.batch} {job.pk} {step}"])
