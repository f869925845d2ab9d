"""
Sample court documents, typeset at run time.

Courts, parties and texts are invented. The bytes are the same in each run, so
that a second run finds the documents it knows.
"""

import ctypes
import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium

# US Letter, in points of 1/72 inch.
_WIDTH, _HEIGHT = 612, 792
_LEFT, _TOP, _LEADING, _SIZE = 90, 708, 24, 12
_LINES = 25
_COLUMNS = 74


def _sentences(text: str) -> tuple[str, ...]:
    """Return the sentences of *text*, which empty lines part."""
    return tuple(" ".join(sentence.split()) for sentence in text.split("\n\n"))


_PREMISES = _sentences(
    """
    The parties do not dispute the date on which the notice was mailed, only the day on
    which the period to answer it began to run.

    At the hearing, the harbor master testified that the mooring lines had been inspected
    twice in the week before the storm, and that the second inspection found them frayed.

    Counsel for the respondent concedes that the ledger is incomplete, but argues that the
    missing pages bear on damages and not on liability.

    The lease provides that rent is due on the first day of the quarter, that a delay of ten
    days is no default, and that notice must be given in writing.

    Plaintiff bought the orchard in reliance on a survey that placed the well two hundred
    feet inside its northern boundary.

    The record contains three versions of the agreement, none of which is signed by both
    parties.

    Neither expert could say with confidence whether the bearing had failed before the
    turbine was shipped or in the first hours of its operation.

    The commissioner found that the ferry company had kept its timetable in each of the four
    winters before the channel was closed to navigation.
    """
)
_REASONS = _sentences(
    """
    A statute that shortens a period for appeal is read strictly, and a doubt about its
    beginning is resolved in favor of review.

    We review the findings of fact for clear error and the conclusions of law without
    deference.

    Where a contract is silent, the conduct of the parties in the years before their dispute
    is the best evidence of what they meant.

    The burden of showing prejudice rests on the party that asks for a new trial, and
    speculation does not carry it.

    An agency must explain why it departs from its own earlier decisions; it need not show
    that the new rule is better, but it must show that it is aware of the change.

    Equity aids the vigilant, yet it does not punish a delay that harmed nobody.
    """
)
_RESULTS = _sentences(
    """
    It follows that the motion to dismiss was rightly denied.

    For these reasons, the objection is overruled in part and sustained in part.

    We therefore vacate that part of the judgment and remand for further proceedings.

    The argument was not raised below, and we do not reach it.

    On this record, no reasonable trier of fact could find otherwise.
    """
)


# pdfium writes the time of day, in one form or another, and an identifier made
# of it. What takes their places is as long, since the file has the positions
# of its parts.
_DATE = re.compile(rb"(?<=/CreationDate\(D:)[^)]+")
_IDENTIFIER = re.compile(rb"(?<=[<])[0-9A-F]{32}(?=[>])")
_FIRST_DAY = b"20260101000000+00'00'"


@dataclass(frozen=True, slots=True)
class _Sample:
    file: str
    heading: tuple[str, ...]
    paragraphs: int
    # Where the sentences start, so that no two documents are alike.
    offset: int


_SAMPLES = (
    _Sample(
        file="harbor-trust-v-lindqvist-opinion.pdf",
        heading=(
            "COURT OF APPEALS FOR THE EASTERN DISTRICT",
            "HARBOR TRUST COMPANY v. LINDQVIST",
            "No. 88-1204",
            "OPINION OF THE COURT",
        ),
        paragraphs=40,
        offset=0,
    ),
    _Sample(
        file="in-re-meadow-ferry-order.pdf",
        heading=(
            "PUBLIC UTILITIES TRIBUNAL",
            "IN RE MEADOW FERRY COMPANY",
            "Docket F-317",
            "ORDER ON REHEARING",
        ),
        paragraphs=12,
        offset=3,
    ),
    _Sample(
        file="orchard-growers-v-state-memorandum.pdf",
        heading=(
            "TAX TRIBUNAL OF THE STATE",
            "ORCHARD GROWERS COOPERATIVE v. DEPARTMENT OF REVENUE",
            "Case 2041",
            "MEMORANDUM",
        ),
        paragraphs=26,
        offset=5,
    ),
    _Sample(
        file="turbine-works-v-okonjo-brief.pdf",
        heading=(
            "SUPERIOR COURT, CIVIL DIVISION",
            "TURBINE WORKS LIMITED v. OKONJO",
            "No. CV-552",
            "BRIEF FOR THE RESPONDENT",
        ),
        paragraphs=18,
        offset=6,
    ),
)


def write_samples(folder: Path) -> tuple[Path, ...]:
    """
    Write the samples into *folder*, which is made if need be; return their paths.

    Raises:
        OSError: If they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sample in _SAMPLES:
        path = folder / sample.file
        content = typeset(_lines(sample))
        if not path.is_file() or path.read_bytes() != content:
            temporary = path.with_suffix(".new")
            temporary.write_bytes(content)
            temporary.replace(path)
        paths.append(path)
    return tuple(paths)


def typeset(lines: Sequence[str]) -> bytes:
    """Return a PDF of *lines* in Times, double-spaced, with numbered pages."""
    document = pypdfium2.PdfDocument.new()
    try:
        font = pdfium.FPDFText_LoadStandardFont(document, b"Times-Roman")
        for start in range(0, len(lines), _LINES):
            page = document.new_page(_WIDTH, _HEIGHT)
            for number, line in enumerate(lines[start : start + _LINES]):
                _put(document, page, font, line, x=_LEFT, y=_TOP - number * _LEADING)
            _put(document, page, font, f"{start // _LINES + 1}", x=_WIDTH / 2, y=48)
            page.gen_content()
            page.close()
        pdfium.FPDFFont_Close(font)
        buffer = io.BytesIO()
        document.save(buffer)
    finally:
        document.close()
    dated = _DATE.sub(lambda found: _FIRST_DAY[: len(found[0])], buffer.getvalue())
    return _IDENTIFIER.sub(32 * b"0", dated)


def _put(
    document: pypdfium2.PdfDocument,
    page: pypdfium2.PdfPage,
    font: object,
    text: str,
    *,
    x: float,
    y: float,
) -> None:
    """Set one line of text, its origin at (x, y) from the lower left corner."""
    if not text:
        return
    line = pdfium.FPDFPageObj_CreateTextObj(document, font, _SIZE)
    encoded = ctypes.create_string_buffer(text.encode("utf-16-le") + b"\0\0")
    pdfium.FPDFText_SetText(line, ctypes.cast(encoded, pdfium.FPDF_WIDESTRING))
    pdfium.FPDFPageObj_Transform(line, 1, 0, 0, 1, x, y)
    pdfium.FPDFPage_InsertObject(page, line)


def _lines(sample: _Sample) -> list[str]:
    lines = [line for part in sample.heading for line in (part, "")]
    for paragraph in _paragraphs(sample):
        lines += [*textwrap.wrap(paragraph, _COLUMNS, initial_indent="    "), ""]
    return lines


def _paragraphs(sample: _Sample) -> Iterator[str]:
    # Cycles of coprime lengths meet again only after 120 paragraphs.
    sentences = [
        islice(cycle(pool), sample.offset, sample.offset + sample.paragraphs)
        for pool in (_PREMISES, _REASONS, _RESULTS)
    ]
    for number, parts in enumerate(zip(*sentences, strict=True), start=1):
        yield f"{number}. " + " ".join(parts)
