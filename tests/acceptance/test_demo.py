"""`task-server demo`: the main job, from nothing to a table."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg2
import pytest
import redis

from task_server import local
from task_server.local.servers import cluster
from tests.support.ports import own_port
from tests.support.program import Output, Program

GIB = 2**30


class Misbehaving(BaseHTTPRequestHandler):
    """Answers as the servers of the world do."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/huge.pdf":
            self.send_response(200)
            self.send_header("Content-Length", str(2 * GIB))
            self.end_headers()
            self.wfile.write(b"%PDF-1.7\n" * 1000)
        elif self.path == "/endless.pdf":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            chunk = b"%PDF-1.7\n" + b"\0" * 2**20
            try:
                for _ in range(2 * GIB // len(chunk)):
                    self.wfile.write(chunk)
            except OSError:
                self.close_connection = True
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing: the test checks the answers' effects."""


@pytest.fixture
def misbehaving() -> Iterator[str]:
    """Return the URL of a server that misbehaves."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_without_a_source_it_reads_documents_of_its_own(program: Program) -> None:
    """
    A newcomer sees both queues at work, a table, and nothing is left running.
    """
    ended = program("demo")

    assert (0, {}) == (ended.returncode, program.alive()), ended.stderr
    assert "tasks on io_bound" in ended.stdout
    assert 4 == ended.stdout.count(".pdf ")


def test_the_real_documents(program: Program, documents: Path) -> None:
    """
    Five court documents come out with their pages and words; the scan says what it lacks.
    """
    ended = program("demo", "--json", documents)

    assert 0 == ended.returncode, ended.stderr
    found = {row["name"]: row for row in ended.result["documents"]}
    assert {
        "ca1_12-2209.pdf": (2, "done"),
        "ca8_17-2543.pdf": (3, "done"),
        "scanned_image_only.pdf": (1, "no-text-layer"),
        "scotus_11-889_slip_opinion.pdf": (30, "done"),
        "tax_court_memo_2020-26.pdf": (32, "done"),
    } == {name: (row["pages"], row["state"]) for name, row in found.items()}
    assert 9200 == pytest.approx(found["scotus_11-889_slip_opinion.pdf"]["words"], rel=0.02)
    assert 7500 == pytest.approx(found["tax_court_memo_2020-26.pdf"]["words"], rel=0.02)


@pytest.mark.slow
def test_two_hundred_jobs_run_once_each(program: Program, documents: Path) -> None:
    """
    Forty passes over five documents: every task of both queues runs exactly once.
    """
    ended = program("demo", "--json", "--repeat", "40", documents)

    assert 0 == ended.returncode, ended.stderr
    assert {"jobs": 200, "ended": 200, "fetch_tasks": 200, "read_tasks": 200, "extra_runs": 0} == {
        name: ended.result[name]
        for name in ("jobs", "ended", "fetch_tasks", "read_tasks", "extra_runs")
    }


@pytest.mark.slow
def test_what_cannot_be_read_is_listed_and_nothing_else_is_lost(
    program: Program, misbehaving: str, tmp_path: Path, documents: Path
) -> None:
    """
    Each bad source ends in a state of its own with a reason; a good one beside them is read.
    """
    (tmp_path / "notes.pdf").write_text("These are notes, not a PDF.")
    (tmp_path / "empty.pdf").touch()
    good = tmp_path / "good.pdf"
    shutil.copyfile(documents / "ca1_12-2209.pdf", good)

    ended = program(
        "demo",
        "--json",
        good,
        tmp_path / "notes.pdf",
        tmp_path / "empty.pdf",
        f"{misbehaving}/absent.pdf",
        f"{misbehaving}/huge.pdf",
        f"{misbehaving}/endless.pdf",
        f"http://127.0.0.1:{own_port()}/unreachable.pdf",
    )

    assert 0 == ended.returncode, ended.stderr
    assert (7, 7) == (ended.result["jobs"], ended.result["ended"])
    rows = ended.result["documents"]
    assert {
        "good.pdf": "done",
        "notes.pdf": "not-a-pdf",
        "empty.pdf": "empty",
        "absent.pdf": "not-found",
        "huge.pdf": "too-large",
        "endless.pdf": "too-large",
        "unreachable.pdf": "unreachable",
    } == {row["name"]: row["state"] for row in rows}
    assert {"good.pdf"} == {row["name"] for row in rows if not row["error"]}


@pytest.mark.slow
def test_the_same_source_twice_is_one_document(program: Program) -> None:
    """
    A second run finds the data of the first, and makes no second row.
    """
    first, second = (program("demo", "--json").result["documents"] for _ in range(2))

    assert first == second


def test_a_folder_that_does_not_exist_is_reported_before_anything_starts(program: Program) -> None:
    """
    A wrong path is one line and exit 2, all of them at once; no server is started.
    """
    ended = program("demo", "/absent/folder", "absent.pdf")

    assert 2 == ended.returncode
    assert "/absent/folder: no such file or folder" in ended.stderr
    assert "absent.pdf: no such file or folder" in ended.stderr
    assert not (program.folder / ".task-server").exists()


def test_a_state_folder_on_a_read_only_disk_is_one_clear_line(program: Program) -> None:
    """
    Where the state cannot be kept, the line names the folder, the cause and the cure.
    """
    ended = program("demo", "--state", "/proc/task-server")

    assert (1, "") == (ended.returncode, ended.stdout)
    assert "Cannot keep state in /proc/task-server" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_it_keeps_up_when_asked_and_ends_at_ctrl_c(program: Program) -> None:
    """
    --keep leaves the system up, with Flower; Ctrl-C leaves nothing behind.
    """
    port = own_port()
    process = program.start("demo", "--keep", TASK_SERVER_FLOWER_PORT=str(port))
    output = Output(process)

    output.until(f"Flower is at http://127.0.0.1:{port}")
    assert any(
        "valkey-server" in line or "redis-server" in line for line in program.alive().values()
    )
    process.send_signal(2)
    process.wait(timeout=60)

    assert (0, {}) == (process.returncode, program.alive())


@pytest.mark.slow
def test_another_projects_servers_are_left_alone(
    program: Program, postgres_server: local.Server, redis_server: local.Server
) -> None:
    """
    A shell that is set up for a project, in its folder: the demo has servers of its own.
    """
    cluster.ensure_database(postgres_server.environ, postgres_server.environ["PGDATABASE"])
    (program.folder / "task-server.toml").write_text(
        f'app = "cl"\ncode = "/absent"\nbroker_url = "{redis_server.url}"\n'
    )
    foreign = {"DJANGO_SETTINGS_MODULE": "cl.settings", "TASK_SERVER_APP": "cl"}

    ended = program("demo", **foreign, **postgres_server.environ, **redis_server.environ)

    assert 0 == ended.returncode, ended.stderr
    with closing(psycopg2.connect(postgres_server.client_url)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert (0,) == cursor.fetchone()
    with redis.Redis.from_url(redis_server.client_url) as client:
        assert 0 == client.dbsize()
