"""`docket ingest` and `docket search`, with both workers, on PostgreSQL and Redis."""

import pytest

pytestmark = pytest.mark.usefixtures("workers")


def test_the_real_documents_are_read(docket, documents):
    """
    Pages and words are those of the documents; a scan says that it has no text layer.
    """
    result = docket("ingest", "--json-lines", documents)
    end = result.events[-1]
    found = {item["name"]: item for item in end["documents"]}
    pages = {name: item["pages"] for name, item in found.items()}

    assert (result.returncode, result.stderr) == (0, "")
    assert pages == {
        "ca1_12-2209.pdf": 2,
        "ca8_17-2543.pdf": 3,
        "scanned_image_only.pdf": 1,
        "scotus_11-889_slip_opinion.pdf": 30,
        "tax_court_memo_2020-26.pdf": 32,
    }
    assert found["scotus_11-889_slip_opinion.pdf"]["words"] == pytest.approx(9200, rel=0.02)
    assert found["tax_court_memo_2020-26.pdf"]["words"] == pytest.approx(7500, rel=0.02)
    assert found["scanned_image_only.pdf"]["state"] == "no-text-layer"
    assert "no text" in found["scanned_image_only.pdf"]["error"]
    assert (end["jobs"], end["ended"], end["extra_runs"]) == (5, 5, 0)


def test_every_repeated_job_runs_once(docket, documents):
    """
    Forty passes over five documents are 200 jobs, each fetched and read once.
    """
    result = docket("ingest", "--json-lines", "--repeat", "40", documents)
    end = result.events[-1]

    assert result.events[0] == {"event": "start", "documents": 5, "jobs": 200}
    assert {name: end[name] for name in ("jobs", "ended", "fetch_tasks", "read_tasks")} == {
        "jobs": 200,
        "ended": 200,
        "fetch_tasks": 200,
        "read_tasks": 200,
    }
    assert end["extra_runs"] == 0
    assert result.returncode == 0
