"""The output of `docket ingest`: for people, or as JSON lines for programs."""

import json
from typing import Any, Protocol
from uuid import UUID

from django.core.management.base import OutputWrapper
from django.db.models import F, Sum, Value
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Greatest

from docket.listening import Progress
from docket.models import Document, Job
from docket.states import State
from docket.terminal import printable


class Report(Protocol):
    """Gets the events in order."""

    def start(self, *, documents: int, jobs: int) -> None:
        """Report that the jobs exist."""

    def queued(self, *, jobs: int) -> None:
        """Report that the jobs are queued and not waited for."""

    def progress(self, jobs: int, progress: Progress) -> None:
        """Report the progress, if it changed."""

    def end(self, batch: UUID, *, seconds: float) -> None:
        """Report the results of the jobs, which have all ended."""


def choose(stream: OutputWrapper, *, json_lines: bool) -> Report:
    """Return the report that was asked for."""
    return JsonLines(stream) if json_lines else Text(stream)


def summary(batch: UUID, seconds: float) -> dict[str, Any]:
    """
    Return what the jobs of *batch* came to.

    `extra_runs` counts what at-least-once delivery did more often than once.
    """
    jobs = Job.objects.filter(batch=batch)
    totals = jobs.aggregate(
        fetch_tasks=Sum("fetch_runs"),
        read_tasks=Sum("read_runs"),
        # A job has one run of each task; one of fetch only if that failed.
        extra_runs=Sum(_more_than_one("fetch_runs") + _more_than_one("read_runs")),
    )
    tasks = totals["fetch_tasks"] + totals["read_tasks"]
    documents = Document.objects.filter(jobs__batch=batch).distinct().order_by("pk")
    return {
        "jobs": jobs.count(),
        "ended": jobs.filter(state=Job.State.ENDED).count(),
        **totals,
        "seconds": round(seconds, 3),
        "tasks_per_second": round(tasks / max(seconds, 0.001), 1),
        "documents": list(documents.values("source", "name", "pages", "words", "state", "error")),
    }


def _more_than_one(counter: str) -> CombinedExpression:
    return Greatest(F(counter), Value(1)) - Value(1)


class JsonLines:
    """One JSON object a line, flushed."""

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream
        self._last: dict[str, Any] = {}

    def start(self, *, documents: int, jobs: int) -> None:
        """Write the event `start`."""
        self._write({"event": "start", "documents": documents, "jobs": jobs})

    def queued(self, *, jobs: int) -> None:
        """Write the event `queued`, the last one then."""
        self._write({"event": "queued", "jobs": jobs})

    def progress(self, jobs: int, progress: Progress) -> None:
        """Write the event `progress`, if it differs from the last one."""
        self._write(
            {
                "event": "progress",
                "jobs": jobs,
                "fetched": len(progress.fetched),
                "read": len(progress.read),
                "ended": len(progress.ended),
            }
        )

    def end(self, batch: UUID, *, seconds: float) -> None:
        """Write the event `end`."""
        self._write({"event": "end", **summary(batch, seconds)})

    def _write(self, event: dict[str, Any]) -> None:
        if event != self._last:
            self._last = event
            self._stream.write(json.dumps(event) + "\n")
            self._stream.flush()


class Text:
    """Lines for people; the progress only where it can be overwritten."""

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream

    def start(self, *, documents: int, jobs: int) -> None:
        """Report that the jobs exist."""
        self._line(f"{_count(documents, 'document')}, {_count(jobs, 'job')}")

    def queued(self, *, jobs: int) -> None:
        """Report that nothing is waited for."""
        self._line(f"{_count(jobs, 'job')} queued; --wait waits for the end")

    def progress(self, jobs: int, progress: Progress) -> None:
        """Overwrite the line of progress."""
        if self._stream.isatty():
            fetched, ended = len(progress.fetched), len(progress.ended)
            self._stream.write(f"\r{fetched} fetched, {ended} ended of {jobs} ")
            self._stream.flush()

    def end(self, batch: UUID, *, seconds: float) -> None:
        """Print each document and the totals."""
        result = summary(batch, seconds)
        if self._stream.isatty():
            self._line("")
        for document in result["documents"]:
            size = f"{document['pages'] or '-':>5} pages {document['words'] or '-':>8} words"
            text = State(document["state"]).label
            if document["error"]:
                text += f": {document['error']}"
            self._line(f"{size}  {printable(document['name'])}  {printable(text)}")
        self._line(
            f"{result['ended']} of {_count(result['jobs'], 'job')} ended; "
            f"{result['fetch_tasks']} fetches, {result['read_tasks']} reads, "
            f"{result['extra_runs']} extra; "
            f"{result['seconds']:.1f} s, {result['tasks_per_second']} tasks/s"
        )

    def _line(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
