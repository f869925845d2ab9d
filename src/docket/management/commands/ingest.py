"""``docket ingest SOURCE …``: have documents fetched and read."""

import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, transaction
from kombu.exceptions import OperationalError as BrokerError

from docket import reports
from docket.celery import app
from docket.jobs import give_up
from docket.listening import Progress, listening
from docket.models import Document, Job
from docket.samples import write_samples
from docket.serving import served
from docket.sources import Source, SourceError, find_sources
from docket.states import DocumentError, State
from docket.tasks import fetch
from task_server.errors import PeerError

USAGE = 2
INTERRUPTED = 130


class Command(BaseCommand):
    """Queue jobs, serve local files to them, and wait for their end."""

    help = (
        "Fetch and read court documents. Local files are served over HTTP on this machine until "
        "every job has ended; URLs are queued, and waited for with --wait. Exit 0 only if every "
        "job that was waited for has ended; a document that cannot be read is in the report."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "sources", nargs="*", metavar="SOURCE", help="PDF file, folder of *.pdf, or URL"
        )
        parser.add_argument("--repeat", type=int, default=1, metavar="N", help="make N passes")
        parser.add_argument("--wait", action="store_true", help="wait for URLs, too")
        parser.add_argument(
            "--json-lines", action="store_true", help="print events as JSON, one object a line"
        )
        parser.add_argument(
            "--sample", action="store_true", help="typeset a few documents, and ingest them"
        )
        parser.add_argument(
            "--sample-dir",
            type=Path,
            metavar="FOLDER",
            help="where to keep the samples (default: samples in MEDIA_ROOT)",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the command."""
        report = reports.choose(self.stdout, json_lines=options["json_lines"])
        try:
            self._ingest(_sources(options), report, options)
        except BrokerError as error:
            message = f"Redis: {error}; nothing more was queued"
            raise CommandError(message, returncode=PeerError.exit_code) from error
        except (DatabaseError, InterfaceError) as error:
            message = f"PostgreSQL: {str(error).strip().partition(chr(10))[0]}"
            raise CommandError(message, returncode=PeerError.exit_code) from error

    def _ingest(
        self, sources: Sequence[Source], report: reports.Report, options: dict[str, Any]
    ) -> None:
        _check_broker()
        local = [source.path for source in sources if source.path is not None]
        batch = uuid4()
        started = time.monotonic()
        with ExitStack() as stack:
            # Both before the first job exists, so that no event is missed.
            listener = stack.enter_context(listening())
            urls = stack.enter_context(served(local)) if local else {}
            jobs = _create(sources, urls, batch, options["repeat"])
            report.start(documents=len(sources), jobs=len(jobs))
            _send(jobs)
            if not (local or options["wait"]):
                report.queued(jobs=len(jobs))
                return
            progress = Progress(batch)
            try:
                while len(progress.ended) < len(jobs):
                    progress.wait(listener)
                    report.progress(len(jobs), progress)
            except KeyboardInterrupt:
                message = f"interrupted: {len(progress.ended)} of {len(jobs)} jobs have ended"
                raise CommandError(message, returncode=INTERRUPTED) from None
        report.end(batch, seconds=time.monotonic() - started)


def _sources(options: dict[str, Any]) -> Sequence[Source]:
    """Return the sources, or refuse with every problem of the arguments."""
    problems: list[str] = []
    if options["repeat"] < 1:
        problems.append("--repeat: give 1 or more")
    if not options["sources"] and not options["sample"]:
        problems.append("SOURCE: give a PDF file, a folder, a URL, or --sample")
    sources: tuple[Source, ...] = ()
    try:
        sources = find_sources(options["sources"])
    except SourceError as error:
        problems.extend(error.problems)
    if options["sample"] and not problems:
        folder = (options["sample_dir"] or Path(settings.MEDIA_ROOT) / "samples").absolute()
        try:
            sources += find_sources(str(path) for path in write_samples(folder))
        except OSError as error:
            problems.append(f"--sample-dir: cannot write {error.filename} ({error.strerror})")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise CommandError(f"nothing was queued:\n{lines}", returncode=USAGE)
    return sources


def _check_broker() -> None:
    """Refuse to create jobs that cannot be sent."""
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=5, reraise_as_library_errors=True)


@transaction.atomic
def _create(
    sources: Sequence[Source], urls: dict[Path, str], batch: UUID, repeat: int
) -> list[Job]:
    """Create the jobs, and the documents that are new."""
    Document.objects.bulk_create(
        [Document(source=source.uri, name=source.name) for source in sources],
        ignore_conflicts=True,
    )
    documents = Document.objects.in_bulk([source.uri for source in sources], field_name="source")
    return Job.objects.bulk_create(
        Job(
            document=documents[source.uri],
            batch=batch,
            url=urls[source.path] if source.path is not None else source.uri,
        )
        for _ in range(repeat)
        for source in sources
    )


def _send(jobs: Sequence[Job]) -> None:
    """Queue the jobs; if the broker stops answering, end those that were not sent."""
    for number, job in enumerate(jobs):
        try:
            fetch.delay(job.pk)
        except BrokerError:
            for unsent in jobs[number:]:
                give_up(unsent.pk, DocumentError(State.FAILED, "it could not be queued"))
            raise
