"""A message may come twice, a worker may die: what a job records stays right."""

import os
import random
import signal
import string
import uuid
from pathlib import Path
from threading import Barrier, Thread

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from docket import jobs
from docket.listening import Progress, listening
from docket.media import StoredFile
from docket.models import Document, Job
from docket.reading import Contents
from docket.states import DocumentError, State
from docket.tasks import fetch, read
from tests.support import proc

FILE = StoredFile(name="documents/aa/aa/aa.pdf", sha256="a" * 64, size=1)
CONTENTS = Contents(pages=1, words=2, text="habeas corpus")


def test_a_second_run_counts_and_changes_nothing(job):
    """
    The first outcome stays, the runs are counted, and the read is sent again until it has run.
    """
    made = job()
    sent = []
    jobs.record_fetch(made.pk, FILE, lambda: sent.append("first"))
    jobs.record_fetch(made.pk, DocumentError(State.NOT_FOUND, "gone"), lambda: sent.append("2nd"))
    jobs.record_read(made.pk, FILE.sha256, CONTENTS)
    jobs.record_read(made.pk, FILE.sha256, DocumentError(State.BROKEN, "cut"))
    jobs.record_fetch(made.pk, None, lambda: sent.append("third"))
    made.refresh_from_db()

    assert sent == ["first", "2nd"]
    assert (made.state, made.fetch_runs, made.read_runs) == ("ended", 3, 2)
    assert made.document.state == State.DONE


def test_runs_at_once_are_all_counted(job):
    """
    Eight runs in eight connections lose no count and end the job once.
    """
    made = job()
    jobs.record_fetch(made.pk, FILE, lambda: None)
    barrier = Barrier(8)

    def run():
        barrier.wait()
        jobs.record_read(made.pk, FILE.sha256, CONTENTS)
        connection.close()

    threads = [Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.refresh_from_db()

    assert (made.read_runs, made.state) == (8, "ended")


def test_the_text_of_a_file_that_was_replaced_is_not_recorded(job):
    """
    If another job has fetched another content meanwhile, that one's text counts.
    """
    made = job()
    jobs.record_fetch(made.pk, FILE, lambda: None)
    Document.objects.filter(pk=made.document_id).update(sha256="b" * 64)
    jobs.record_read(made.pk, FILE.sha256, CONTENTS)
    made.refresh_from_db()

    assert made.state == "ended"
    assert (made.document.text, made.document.state) == ("", State.PENDING)


def test_new_content_forgets_the_old_text(job):
    """
    A document whose file became unreadable is not found by its former words.
    """
    made = job()
    jobs.record_fetch(made.pk, FILE, lambda: None)
    jobs.record_read(made.pk, FILE.sha256, CONTENTS)
    again = Job.objects.create(document=made.document, batch=uuid.uuid4(), url=made.url)
    other = StoredFile(name="documents/bb/bb/bb.pdf", sha256="b" * 64, size=1)
    jobs.record_fetch(again.pk, other, lambda: None)
    jobs.record_read(again.pk, other.sha256, DocumentError(State.NO_TEXT, "none", pages=7))
    document = Document.objects.get(pk=made.document_id)

    assert (document.state, document.text, document.search) == (State.NO_TEXT, "", None)
    assert (document.pages, document.words) == (7, None)


def test_a_text_that_is_too_long_to_index_is_kept(job):
    """
    PostgreSQL indexes at most 1 MB of distinct words; the text stays whole, its beginning is found.
    """
    source = random.Random(1)
    words = ("".join(source.choices(string.ascii_lowercase, k=12)) for _ in range(200_000))
    text = "quarterdeck " + " ".join(words)
    made = job()
    jobs.record_fetch(made.pk, FILE, lambda: None)
    jobs.record_read(made.pk, FILE.sha256, Contents(pages=1, words=200_001, text=text))
    document = Document.objects.get(pk=made.document_id)

    assert (document.state, document.text) == (State.DONE, text)
    assert Document.objects.filter(pk=document.pk, search="quarterdeck").exists()


def test_no_connection_is_open_during_http(job, monkeypatch):
    """
    While a server is waited for, the task holds no connection to PostgreSQL.
    """
    seen = []

    def download(url, limits, receive):
        seen.append(connection.connection)
        raise DocumentError(State.NOT_FOUND, "gone")

    monkeypatch.setattr("docket.tasks.download", download)
    made = job()
    fetch(made.pk)
    made.refresh_from_db()

    assert seen == [None]
    assert (made.state, made.document.state) == ("ended", State.NOT_FOUND)


def test_an_ended_job_is_neither_fetched_nor_read(job):
    """
    A message that comes late changes no document, and counts as a run.
    """
    made = job(state=Job.State.ENDED)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        read(made.pk)
    fetch(made.pk)
    made.refresh_from_db()

    assert (made.fetch_runs, made.read_runs) == (1, 1)
    assert not any(
        "docket_document" in query["sql"] and "UPDATE" in query["sql"] for query in queries
    )


def test_a_document_that_kills_its_reader_is_given_up(job):
    """
    After five beginnings without an end, the next run does not open the file.
    """
    made = job(state=Job.State.FETCHED, read_starts=5)
    read(made.pk)
    made.refresh_from_db()

    assert (made.state, made.document.state) == ("ended", State.BROKEN)
    assert made.document.error == "reading it has ended the worker 5 times"


def test_an_unexpected_error_ends_the_job(job, workers):
    """
    The task fails (its file is gone), Celery calls on_failure, the document is failed.
    """
    made = job(state=Job.State.FETCHED)
    Document.objects.filter(pk=made.document_id).update(file="documents/gone.pdf")
    progress = Progress(made.batch)
    with listening() as listener:
        read.delay(made.pk)
        _wait(progress, listener)
    made.refresh_from_db()

    assert (made.state, made.document.state) == ("ended", State.FAILED)
    assert "FileNotFoundError" in made.document.error


@pytest.fixture
def stuck(job, place):
    """Return a job whose file is a pipe: its reader, a child of a pool child, waits forever."""
    made = job(state=Job.State.FETCHED)
    pipe = place.media / f"{made.batch}.pdf"
    pipe.parent.mkdir(exist_ok=True)
    os.mkfifo(pipe)
    Document.objects.filter(pk=made.document_id).update(file=pipe.name)
    yield made
    pipe.unlink()


@pytest.mark.parametrize("harm", [None, signal.SIGSTOP], ids=["waits", "stopped"])
def test_a_reader_without_an_end_is_ended(harm, stuck, workers):
    """
    The task ends its reader in time, and records that the document is too slow.
    """
    _run(stuck, lambda pid: harm and os.kill(pid, harm))

    assert (stuck.state, stuck.read_runs) == ("ended", 1)
    assert (stuck.document.state, stuck.document.error) == (State.TOO_SLOW, "not read in 5 s")


def test_a_reader_that_dies_is_an_answer(stuck, workers):
    """
    What crashes pdfium, or is killed by the kernel for its memory, costs no pool child.
    """
    _run(stuck, lambda pid: os.kill(pid, signal.SIGKILL))

    assert (stuck.state, stuck.read_runs) == ("ended", 1)
    assert (stuck.document.state, stuck.document.error) == (
        State.BROKEN,
        "it crashes its reader (9)",
    )


def test_a_pool_child_that_hangs_ends_at_the_hard_limit(stuck, workers):
    """
    A child that hears nothing any more is killed, and its job ends all the same.
    """
    _run(stuck, lambda pid: os.kill(proc.parent(pid), signal.SIGSTOP))

    assert (stuck.state, stuck.read_runs) == ("ended", 0)
    assert stuck.document.state == State.TOO_SLOW
    assert stuck.document.error == "the task was ended at its time limit"


def test_a_pool_child_that_dies_ends_its_job_and_its_reader(stuck, workers):
    """
    A child that is killed leaves no pending job, and no process that still reads.
    """
    readers = []

    def harm(pid: int) -> None:
        readers.append(pid)
        os.kill(proc.parent(pid), signal.SIGKILL)

    _run(stuck, harm)

    assert (stuck.state, stuck.read_runs) == ("ended", 0)
    assert stuck.document.state == State.FAILED
    assert "the process that ran the task died" in stuck.document.error
    assert [proc.state(pid) in ("", "Z") for pid in readers] == [True]


def _run(job, harm):
    """Run `read` until its child has opened the pipe, do it harm, and wait for the end."""
    job.refresh_from_db()
    path = Path(job.document.file.path)
    progress = Progress(job.batch)
    with listening() as listener:
        # That of the worker's settings: Celery sends the one of this process along.
        read.apply_async((job.pk,), time_limit=7)
        # Opening for writing returns when the reader has opened the pipe.
        with path.open("wb"):
            harm(_who_reads(path))
            _wait(progress, listener)
    job.refresh_from_db()


def _who_reads(path):
    """Return the process, other than this one, that has *path* open."""
    for pid in proc.pids():
        if pid != os.getpid() and path in proc.open_files(pid):
            return pid
    pytest.fail(f"no process reads {path}")


def _wait(progress, listener):
    for _ in range(10):
        progress.wait(listener)
        if progress.ended:
            return
    pytest.fail("the job did not end")


def test_a_batch_is_notified_of_its_own_jobs_only(job):
    """
    Each step is reported once, to the batch it belongs to.
    """
    mine, other = job(), job()
    progress = Progress(mine.batch)
    with listening() as listener:
        for made in (other, mine):
            jobs.record_fetch(made.pk, FILE, lambda: None)
            jobs.record_read(made.pk, FILE.sha256, CONTENTS)
        _wait(progress, listener)

    assert (progress.fetched, progress.read, progress.ended) == ({mine.pk}, {mine.pk}, {mine.pk})
