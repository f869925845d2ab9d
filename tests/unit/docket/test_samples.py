"""The typeset samples are readable PDFs, the same in each run."""

import re

from docket.reading import read_pdf
from docket.samples import typeset, write_samples


def test_the_samples_are_readable(tmp_path):
    """
    Each sample has several pages, its title, and a text of its own.
    """
    contents = [read_pdf(path) for path in write_samples(tmp_path / "samples")]

    assert [item.pages for item in contents] == [10, 4, 7, 5]
    assert "HARBOR TRUST COMPANY v. LINDQVIST" in contents[0].text
    assert len({item.text for item in contents}) == 4
    assert min(item.words for item in contents) > 500


def test_what_was_typeset_is_what_is_read(tmp_path):
    """
    Page numbers stand below; accents and dashes survive.
    """
    path = tmp_path / "a.pdf"
    path.write_bytes(typeset(["Señor Müller", "", "second line"] + ["x"] * 25))

    contents = read_pdf(path)

    assert contents.pages == 2
    assert contents.text.split()[:4] == ["Señor", "Müller", "second", "line"]
    assert contents.text.split()[-1] == "2"


def test_the_bytes_depend_on_nothing():
    """
    The time of day and the identifier that pdfium writes are replaced, wherever they occur.
    """
    content = typeset(["All rise."])

    (date,) = re.findall(rb"\(D:.*?\)", content)
    assert date.startswith(b"(D:20260101000000")
    assert re.findall(rb"<([0-9A-F]{32})>", content) == [b"0" * 32] * 2


def test_known_samples_are_not_written_again(tmp_path):
    """
    A second run leaves the files alone; a damaged one is replaced.
    """
    paths = write_samples(tmp_path)
    before = [path.stat().st_ino for path in paths]
    content = paths[0].read_bytes()
    paths[0].write_bytes(b"")
    write_samples(tmp_path)

    assert [path.stat().st_ino for path in paths[1:]] == before[1:]
    assert paths[0].read_bytes() == content
    assert sorted(tmp_path.iterdir()) == sorted(paths)
