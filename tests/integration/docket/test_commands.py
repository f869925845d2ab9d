"""The commands: arguments, absent servers, search, migrations, admin."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client, override_settings

from docket.models import Document, Job


@pytest.fixture(scope="module")
def sampled(docket, workers, tmp_path_factory):
    """Ingest the samples, twice; return both reports."""
    folder = tmp_path_factory.mktemp("samples")
    arguments = ("ingest", "--json-lines", "--sample", "--sample-dir", folder)
    return docket(*arguments), docket(*arguments)


def test_the_samples_are_read(sampled):
    """
    Four typeset documents are fetched over HTTP, read, and done.
    """
    end = sampled[0].events[-1]

    assert [item["pages"] for item in end["documents"]] == [10, 4, 7, 5]
    assert {item["state"] for item in end["documents"]} == {"done"}
    assert sampled[0].returncode == 0


def test_the_same_source_makes_no_second_row(sampled):
    """
    Two runs are eight jobs on the same four documents.
    """
    first, second = (result.events[-1]["documents"] for result in sampled)

    assert first == second
    assert Document.objects.filter(source__in=[item["source"] for item in second]).count() == 4
    assert Job.objects.filter(document__source__in=[item["source"] for item in second]).count() == 8


def test_events_report_the_progress(sampled):
    """
    The events begin with start and end with end; progress never goes back and comes to the sum.
    """
    events = sampled[0].events
    steps = [(item["fetched"], item["read"], item["ended"]) for item in events[1:-1]]

    assert events[0] == {"event": "start", "documents": 4, "jobs": 4}
    assert {event["event"] for event in events[1:-1]} == {"progress"}
    assert steps == sorted(set(steps))
    assert steps[-1] == (4, 4, 4)


def test_people_get_lines(sampled, docket, tmp_path):
    """
    Without --json-lines there is a line for each document, and the sums.
    """
    result = docket("ingest", "--sample", "--sample-dir", tmp_path)
    lines = result.stdout.splitlines()

    assert lines[0] == "4 documents, 4 jobs"
    assert lines[1] == "   10 pages     2375 words  harbor-trust-v-lindqvist-opinion.pdf  done"
    assert lines[-1].startswith("4 of 4 jobs ended; 4 fetches, 4 reads, 0 extra; ")
    assert (result.returncode, result.stderr) == (0, "")


def test_search_finds_and_marks(sampled, docket):
    """
    A phrase is found with its pages, and the matching words are marked.
    """
    result = docket("search", '"mooring lines"', "frayed", "--limit", "1")

    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 2
    assert " pages)" in result.stdout
    assert "*mooring* *lines*" in result.stdout


def test_search_without_a_match_says_so(sampled, docket):
    """
    No match is a line and exit 1.
    """
    result = docket("search", "xylophone")

    assert (result.returncode, result.stdout, result.stderr) == (1, "no match for xylophone\n", "")


@pytest.mark.parametrize("command", [("search", "x"), ("ingest", "http://127.0.0.1:1/a.pdf")])
def test_an_absent_database_is_one_line(docket, command):
    """
    Exit 69 and the reason, no traceback.
    """
    result = docket(*command, DATABASE_URL="postgres://nobody@127.0.0.1:1/docket")

    assert result.returncode == 69
    assert result.stderr.startswith("CommandError: PostgreSQL: connection to server at")
    assert len(result.stderr.splitlines()) == 1


def test_an_absent_broker_is_one_line_and_queues_nothing(docket):
    """
    Exit 69, and no job is left in the database without a message.
    """
    before = Job.objects.count()
    result = docket("ingest", "http://127.0.0.1:1/a.pdf", REDIS_URL="redis://127.0.0.1:1/0")

    assert result.returncode == 69
    assert result.stderr.startswith("CommandError: Redis: ")
    assert len(result.stderr.splitlines()) == 1
    assert Job.objects.count() == before


def test_bad_arguments_are_reported_at_once(docket, tmp_path):
    """
    Exit 2, a line for each, and nothing is queued.
    """
    before = Job.objects.count()
    good = tmp_path / "a.pdf"
    good.write_bytes(b"x")
    result = docket("ingest", "--repeat", "0", good, tmp_path / "absent", "ftp://x.org/a.pdf")

    assert result.returncode == 2
    assert [line.rpartition(": ")[2] for line in result.stderr.splitlines()[1:]] == [
        "give 1 or more",
        "no such file or folder",
        "ftp scheme; use http, https, or the path of a file",
    ]
    assert Job.objects.count() == before


def test_the_migrations_are_complete(docket):
    """
    The models have changed in nothing that a migration does not make.
    """
    result = docket("makemigrations", "--check", "--dry-run")

    assert (result.returncode, result.stdout) == (0, "No changes detected\n")


def test_the_project_has_no_problem(docket):
    """
    Django's own checks find nothing.
    """
    result = docket("check", "--fail-level", "WARNING")

    assert (result.returncode, result.stderr) == (0, "")


def test_a_wrong_settings_path_is_reported(docket):
    """
    Exit 78, and the path that does not exist.
    """
    result = docket("check", TASK_SERVER_SETTINGS_PATH="/nonexistent/11-private.py")

    assert result.returncode == 78
    assert "/nonexistent/11-private.py does not exist" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("path", ["document/", "document/?q=harbor&state=done", "job/"])
def test_the_admin_lists(sampled, path):
    """
    An administrator sees documents and jobs.
    """
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        client = _client()
        response = client.get(f"/admin/docket/{path}")

    assert response.status_code == 200
    assert b"harbor-trust-v-lindqvist-opinion.pdf" in response.content


def test_the_admin_shows_the_text_and_does_not_change_it(sampled):
    """
    A document's page holds its text and its jobs, and no field to edit.
    """
    document = Document.objects.get(
        name="in-re-meadow-ferry-order.pdf",
        modified__isnull=False,
        source=sampled[0].events[-1]["documents"][1]["source"],
    )
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        page = _client().get(f"/admin/docket/document/{document.pk}/change/").content.decode()

    assert "IN RE MEADOW FERRY COMPANY" in page
    assert "<textarea" not in page
    assert 'name="_save"' not in page


def _client():
    user, _ = get_user_model().objects.get_or_create(
        username="clerk", is_staff=True, is_superuser=True
    )
    client = Client()
    client.force_login(user)
    return client
