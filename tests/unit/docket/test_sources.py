"""The arguments of `docket ingest`."""

import os
from pathlib import Path

import pytest

from docket.sources import Source, SourceError, find_sources


def test_a_file_is_known_by_its_absolute_uri(tmp_path, monkeypatch):
    """
    However the path is written, the URI is the same, and one source.
    """
    path = tmp_path / "a b.pdf"
    path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)

    found = find_sources(["a b.pdf", str(path), f"../{tmp_path.name}/a b.pdf"])

    assert found == (Source(uri=f"file://{tmp_path}/a%20b.pdf", name="a b.pdf", path=path),)


def test_a_folder_is_its_pdf_files_sorted(tmp_path):
    """
    Other files and subfolders are not taken; the suffix may be in capitals.
    """
    for name in ("b.PDF", "a.pdf", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "d.pdf").mkdir()

    found = find_sources([str(tmp_path)])

    assert [source.name for source in found] == ["a.pdf", "b.PDF"]


def test_a_url_is_named_by_its_last_part():
    """
    The name is the decoded last part of the path, or the host.
    """
    found = find_sources(["https://x.org/a/b%20c.pdf?d=e", "http://x.org/"])

    assert [source.name for source in found] == ["b c.pdf", "x.org"]
    assert found[0].uri == "https://x.org/a/b%20c.pdf?d=e"
    assert found[0].path is None


def test_every_wrong_argument_is_reported(tmp_path):
    """
    One run reports all that is wrong.
    """
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "pipe")
    arguments = [
        "absent.pdf",
        str(tmp_path / "fifo"),
        str(tmp_path / "pipe"),
        "ftp://x.org/a.pdf",
        "http:///a.pdf",
        "http://x.org:port/",
        "http://x.org/" + "a" * 3000,
    ]

    with pytest.raises(SourceError) as caught:
        find_sources(arguments)

    assert [problem.rpartition(": ")[2] for problem in caught.value.problems] == [
        "no such file or folder",
        "the folder holds no *.pdf file",
        "neither a file nor a folder",
        "ftp scheme; use http, https, or the path of a file",
        "the URL names no host",
        "Port could not be cast to integer value as 'port'",
        "the URL is longer than 2048 characters",
    ]


def test_an_unreadable_file_is_reported(tmp_path, monkeypatch):
    """
    The operating system's own reason is in the line.
    """
    path = tmp_path / "a.pdf"
    path.write_bytes(b"x")

    def refuse(self: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    # Root may read everything, so that the refusal itself is replaced.
    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(SourceError, match=r"a\.pdf: cannot be read \(Permission denied\)"):
        find_sources([str(path)])
