"""The text and the number of pages of a PDF, through pdfium."""

import re
from dataclasses import dataclass
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium

from docket.states import DocumentError, State

# Readers accept a header that comes later, within so many bytes.
_HEADER_WITHIN = 1024

# PostgreSQL stores no NUL; UTF-8 has no surrogates.
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")

# What pdfium puts for a hyphen at the end of a line.
_LINE_END_HYPHEN = "\ufffe"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a PDF says; *words* are separated by white space."""

    pages: int
    words: int
    text: str


def read_pdf(path: Path) -> Contents:
    """
    Return the contents of the PDF *path*.

    pdfium is not thread-safe at all, and a file can make it take any time and
    memory: call this in a process of its own, see `isolation`.

    Raises:
        DocumentError: With the state that says why there is no text.
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_WITHIN)
    if not head:
        raise DocumentError(State.EMPTY, "the file has no content")
    if b"%PDF-" not in head:
        raise DocumentError(State.NOT_A_PDF, f"the file begins with {head[:16]!r}, not with %PDF-")
    texts = _texts(path)
    text = storable("\n".join(texts))
    words = len(text.split())
    if not words:
        message = "the pages hold no text, only pictures perhaps; they need text recognition"
        raise DocumentError(State.NO_TEXT, message, pages=len(texts))
    return Contents(pages=len(texts), words=words, text=text)


def storable(text: str) -> str:
    """Return *text* without what PostgreSQL or UTF-8 cannot store."""
    return _NOT_STORABLE.sub("", text).replace(_LINE_END_HYPHEN, "-")


def _texts(path: Path) -> list[str]:
    """Return the text of each page."""
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
            message = "the file asks for a password"
            raise DocumentError(State.ENCRYPTED, message) from error
        raise DocumentError(State.BROKEN, f"pdfium: {error}") from error
    texts: list[str] = []
    try:
        for number in range(len(document)):
            page = document[number]
            textpage = page.get_textpage()
            texts.append(textpage.get_text_range())
            # Kept until the end, the pages of a long document fill the memory.
            textpage.close()
            page.close()
    except pypdfium2.PdfiumError as error:
        message = f"page {len(texts) + 1} of {len(document)}: {error}"
        raise DocumentError(State.BROKEN, message, pages=len(document)) from error
    finally:
        document.close()
    if not texts:
        raise DocumentError(State.BROKEN, "the file has no pages")
    return texts
