"""Whatever a server or a file does wrong, the job ends in a named state."""

import http.server
import threading
from collections import Counter
from http import HTTPStatus
from pathlib import Path

import pytest

from docket.models import Document
from docket.samples import typeset
from tests.support.ports import own_port

PDF = typeset(["All rise.", "The court is in session."])


class Misbehaving(http.server.BaseHTTPRequestHandler):
    """Each path is one way in which a server can fail."""

    calls: Counter[str] = Counter()
    stopping = threading.Event()

    def do_GET(self) -> None:
        """Misbehave as the path says."""
        self.calls[self.path] += 1
        getattr(self, "do_" + self.path.strip("/").partition(".")[0])()

    def _answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(content))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def do_absent(self) -> None:
        """Not found."""
        self._answer(b"no", HTTPStatus.NOT_FOUND)

    def do_forbidden(self) -> None:
        """Another refusal that is final."""
        self._answer(b"no", HTTPStatus.FORBIDDEN)

    def do_down(self) -> None:
        """Never able to answer."""
        self._answer(b"no", HTTPStatus.SERVICE_UNAVAILABLE)

    def do_flaky(self) -> None:
        """Able to answer at the third call."""
        self._answer(*((PDF,) if self.calls[self.path] > 2 else (b"no", 500)))

    def do_moved(self) -> None:
        """Redirect to a good file, with a body that does not end."""
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", "/good.pdf")
        self.end_headers()
        self._endless(b"x" * 65536)

    def do_loop(self) -> None:
        """Redirect to itself."""
        self._answer(b"", HTTPStatus.FOUND, Location=self.path)

    def do_elsewhere(self) -> None:
        """Redirect to a file of the worker's machine."""
        self._answer(b"", HTTPStatus.FOUND, Location="file:///etc/passwd")

    def do_good(self) -> None:
        """A good PDF."""
        self._answer(PDF)

    def do_drip(self) -> None:
        """A body that comes byte by byte, without an end."""
        self._answer(b"%PDF-1.7\n", Content_Length="1000000")
        self._endless(b"x", pause=0.2)

    def do_headers(self) -> None:
        """Headers that come byte by byte, without an end."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self._endless(b"X", pause=0.2)

    def do_continue(self) -> None:
        """Asked to go on, forever; the socket always has data."""
        self._endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    def do_early(self) -> None:
        """Asked to go on, now and then, forever."""
        self._endless(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.2)

    def do_inside(self) -> None:
        """Redirect to a server of the worker's own network."""
        port = self.server.server_address[1]
        self._answer(b"", HTTPStatus.FOUND, Location=f"http://localhost:{port}/good.pdf")

    def do_nonsense(self) -> None:
        """Redirect to what is no URL."""
        self._answer(b"", HTTPStatus.FOUND, Location="http://[::1")

    def do_bytes(self) -> None:
        """Redirect to bytes that are no text."""
        self._answer(b"", HTTPStatus.FOUND, Location="/\xff\xfe")

    def do_silent(self) -> None:
        """Nothing at all."""
        self.stopping.wait(60)

    def do_announced(self) -> None:
        """Two gigabytes, as Content-Length says."""
        self._answer(b"%PDF-1.7\n", Content_Length=str(2 * 1024**3))
        self._endless(b"x" * 65536)

    def do_unannounced(self) -> None:
        """As many bytes as one takes, without a length."""
        self.send_response(HTTPStatus.OK)
        self.end_headers()
        self._endless(b"x" * 65536)

    def do_cut(self) -> None:
        """Half of what was promised."""
        self._answer(PDF[: len(PDF) // 2], Content_Length=str(len(PDF)))

    def do_text(self) -> None:
        """A text named .pdf."""
        self._answer(b"I am no PDF.")

    def do_nothing(self) -> None:
        """An empty file."""
        self._answer(b"")

    def do_broken(self) -> None:
        """The first bytes of a PDF, and nothing that fits them."""
        self._answer(b"%PDF-1.7\n" + b"nonsense " * 50)

    def do_locked(self) -> None:
        """A PDF that asks for a password."""
        self._answer(ENCRYPTED)

    def _endless(self, data: bytes, pause: float = 0) -> None:
        try:
            while not self.stopping.wait(pause):
                self.wfile.write(data)
        except OSError:
            pass  # the worker hung up, as it should

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Be quiet."""


# Revision 3 of the standard security handler; the strings O and U belong to a
# password that is not the empty one.
ENCRYPTED = b"""%%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>> endobj
4 0 obj <</Filter/Standard/V 2/R 3/Length 128/P -44/O <%s>/U <%s>>> endobj
trailer <</Root 1 0 R/Size 5/Encrypt 4 0 R/ID[<00><00>]>>
%%%%EOF
""" % (b"AB" * 32, b"CD" * 32)


@pytest.fixture(scope="module")
def server():
    """Yield the address of the misbehaving server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Misbehaving.stopping.set()
        server.shutdown()
        thread.join()


EXPECTED = {
    "absent.pdf": ("not-found", "the server answered 404 Not Found"),
    "forbidden.pdf": ("unreachable", "the server answered 403 Forbidden"),
    "down.pdf": ("unreachable", "tried 5 times: the server answered 503 Service Unavailable"),
    "flaky.pdf": ("done", ""),
    "moved.pdf": ("done", ""),
    "loop.pdf": ("unreachable", "more than 10 redirects"),
    "elsewhere.pdf": (
        "unreachable",
        "file:///etc/passwd is neither http nor https; only these are fetched",
    ),
    "good.pdf": ("done", ""),
    "inside.pdf": (
        "unreachable",
        "a redirect leads to localhost (127.0.0.1), which is not public",
    ),
    "nonsense.pdf": ("unreachable", "the server redirects to http://[::1, which is not a URL"),
    "bytes.pdf": ("unreachable", "the server redirects to what is not a URL"),
    "drip.pdf": ("too-slow", "not fetched in 10 s ("),
    "headers.pdf": ("too-slow", "not fetched in 10 s ("),
    "continue.pdf": ("unreachable", "the answer has no body within 256 kB"),
    "early.pdf": ("too-slow", "not fetched in 10 s ("),
    "silent.pdf": ("unreachable", "the server was silent"),
    "announced.pdf": ("too-large", "the limit is 5 MB, and it has 2,147 MB"),
    "unannounced.pdf": ("too-large", "the limit is 5 MB, and it is longer"),
    "cut.pdf": ("unreachable", "tried 5 times: the connection broke (ProtocolError)"),
    "text.pdf": ("not-a-pdf", "the file begins with b'I am no PDF.', not with %PDF-"),
    "nothing.pdf": ("empty", "the file has no content"),
    "broken.pdf": ("broken", "pdfium: "),
    "locked.pdf": ("encrypted", "the file asks for a password"),
}


@pytest.fixture(scope="module")
def result(docket, workers, server):
    """Ingest every bad file and one good one, at once."""
    refused = f"http://127.0.0.1:{own_port()}/refused.pdf"
    urls = [f"{server}/{name}" for name in EXPECTED]
    return docket("ingest", "--wait", "--json-lines", *urls, refused)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_problem_has_its_state_and_reason(result, name):
    """
    The state is named and the reason is for people; the good files are read.
    """
    state, reason = EXPECTED[name]
    found = {item["name"]: item for item in result.events[-1]["documents"]}

    assert found[name]["state"] == state
    assert reason in found[name]["error"]
    assert bool(reason) == bool(found[name]["error"])


def test_a_refused_connection_is_reported(result):
    """
    The reason is the operating system's, not the wrappers' of three libraries.
    """
    found = {item["name"]: item for item in result.events[-1]["documents"]}

    assert found["refused.pdf"]["state"] == "unreachable"
    assert found["refused.pdf"]["error"] == "tried 5 times: Connection refused"


def test_every_job_ends(result):
    """
    The command ends with exit 0: the documents failed, the jobs did not.
    """
    end = result.events[-1]

    assert (result.returncode, result.stderr) == (0, "")
    assert end["jobs"] == end["ended"] == len(EXPECTED) + 1
    assert end["extra_runs"] == 0


def test_a_final_answer_is_not_asked_for_again(result):
    """
    4xx is asked for once; 5xx as often as the limit of retries says.
    """
    assert Misbehaving.calls["/absent.pdf"] == 1
    assert Misbehaving.calls["/forbidden.pdf"] == 1
    assert Misbehaving.calls["/down.pdf"] == 5


def test_no_failure_leaves_a_file(result, place):
    """
    Each file under MEDIA_ROOT belongs to a document: no temporary one is left.
    """
    stored = {
        str(path.relative_to(place.media))
        for path in Path(place.media).rglob("*")
        if path.is_file() and path.parent.name != "samples"
    }

    assert stored
    assert stored <= set(Document.objects.exclude(file="").values_list("file", flat=True))
