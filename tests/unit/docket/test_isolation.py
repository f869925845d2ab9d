"""What work on a hostile file does to its own process, and not to ours."""

import os
import signal
import time
import zlib

import pytest

from docket.isolation import run_apart
from docket.reading import read_pdf
from docket.states import DocumentError, State

MEMORY = 1024**3


def apart(work, seconds=30.0):
    return run_apart(work, seconds=seconds, memory=MEMORY)


class UnpicklableError(Exception):
    """Takes what pickle does not give it."""

    def __init__(self, first, second):
        super().__init__(lambda: (first, second))


def outcome(work, **options):
    with pytest.raises(DocumentError) as caught:
        apart(work, **options)
    return caught.value.state, caught.value.reason


def test_what_is_returned_and_raised_comes_back():
    """
    A result, an answer about the document, and an error of any kind.
    """
    assert apart(lambda: {"pages": 3, "text": "x" * 5_000_000})["pages"] == 3
    with pytest.raises(DocumentError, match="no pages") as caught:
        apart(lambda: (_ for _ in ()).throw(DocumentError(State.BROKEN, "no pages", pages=2)))
    assert (caught.value.state, caught.value.pages) == (State.BROKEN, 2)
    with pytest.raises(FileNotFoundError):
        apart(lambda: open("/nowhere/at/all"))  # noqa: PTH123, SIM115
    with pytest.raises(RuntimeError, match="UnpicklableError"):
        apart(lambda: (_ for _ in ()).throw(UnpicklableError(1, 2)))


def test_it_is_another_process():
    """
    And it is gone when the answer is there.
    """
    pid = apart(os.getpid)

    assert pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_time_is_bounded():
    """
    A call that never returns is killed.
    """
    assert outcome(lambda: time.sleep(600), seconds=0.2) == (State.TOO_SLOW, "not read in 0.2 s")


def test_memory_is_bounded():
    """
    Python's own allocations fail first.
    """
    assert outcome(lambda: len(bytearray(2 * MEMORY))) == (
        State.TOO_LARGE,
        "reading it takes more than 1,024 MB of memory",
    )


def test_a_crash_is_reported():
    """
    The signal is named.
    """
    assert outcome(lambda: os.kill(os.getpid(), signal.SIGKILL)) == (
        State.BROKEN,
        "it crashes its reader (9)",
    )


def pdf_of(*objects: bytes) -> bytes:
    """Return a PDF of *objects*, the first one its catalog."""
    out, places = b"%PDF-1.7\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer <</Root 1 0 R/Size %d>>\n"
        b"startxref\n%d\n%%%%EOF" % (size, table, size, len(out))
    )


def stream(data: bytes, entries: bytes = b"") -> bytes:
    packed = zlib.compress(data, 9)
    return b"<<%s/Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (
        entries,
        len(packed),
        packed,
    )


CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
PAGES = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def page(resources: bytes) -> bytes:
    return (
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<<%s>>>>"
        % resources
    )


def text_bomb() -> bytes:
    """Return 300 kB that are 76 million characters."""
    content = b"BT /F1 1 Tf " + b"(%s) Tj " % (b"a" * 76) * 1_000_000 + b"ET"
    return pdf_of(CATALOG, PAGES, page(b"/Font<</F1 5 0 R>>"), stream(content), FONT)


def nested_forms() -> bytes:
    """Return 2 kB whose forms use each other 20 times each, eight deep."""
    uses = b"/X Do " * 20
    forms = [
        stream(
            uses if depth < 7 else b"BT /F1 1 Tf (x) Tj ET",
            b"/Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<</XObject<</X %d 0 R>>"
            b"/Font<</F1 5 0 R>>>>" % (min(depth, 6) + 7),
        )
        for depth in range(8)
    ]
    return pdf_of(CATALOG, PAGES, page(b"/XObject<</X 6 0 R>>"), stream(uses), FONT, *forms)


@pytest.mark.parametrize("make", [text_bomb, nested_forms])
def test_a_hostile_document_is_an_answer(make, tmp_path):
    """
    A small file that asks for gigabytes, or for hours, ends as too large or too slow.
    """
    path = tmp_path / "hostile.pdf"
    path.write_bytes(make())
    state, _ = outcome(lambda: read_pdf(path), seconds=20)

    assert state in {State.TOO_LARGE, State.TOO_SLOW}
