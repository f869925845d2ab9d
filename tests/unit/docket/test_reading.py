"""Reading PDFs; problems have a state."""

import io

import pypdfium2
import pytest

from docket.reading import read_pdf, storable
from docket.samples import typeset
from docket.states import DocumentError, State


@pytest.fixture
def problem(tmp_path):
    """Return a function that gives the problem of a file of some bytes."""

    def problem(content: bytes) -> DocumentError:
        path = tmp_path / "a.pdf"
        path.write_bytes(content)
        with pytest.raises(DocumentError) as caught:
            read_pdf(path)
        return caught.value

    return problem


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (b"", State.EMPTY),
        (b"I am text.", State.NOT_A_PDF),
        (b"\0" * 2000, State.NOT_A_PDF),
        (b"%PDF-1.7\n" + b"x" * 100, State.BROKEN),
        (typeset(["All rise."])[:700], State.BROKEN),
    ],
)
def test_a_problem_has_a_state(problem, content, state):
    """
    No file crashes the reader or gives an empty success.
    """
    assert problem(content).state == state


def test_pages_without_text_are_counted(problem):
    """
    A page with a number only would have text; a bare one has none.
    """
    document = pypdfium2.PdfDocument.new()
    document.new_page(100, 100)
    document.new_page(100, 100)
    buffer = io.BytesIO()
    document.save(buffer)
    document.close()

    found = problem(buffer.getvalue())

    assert (found.state, found.pages) == (State.NO_TEXT, 2)


def test_what_postgresql_cannot_store_is_taken_out():
    """
    NUL and lone surrogates go, astral characters stay, pdfium's hyphen becomes one.
    """
    assert storable("a\0b\ud800c\U0001f600d\ufffe") == "abc\U0001f600d-"
