"""Files are stored by content, wholly or not at all."""

import hashlib
import resource
import stat
import threading

import pytest

from docket.media import store


def _files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_the_name_is_the_content(tmp_path):
    """
    The path is made of the SHA-256; the web server may read the file.
    """
    sha256 = hashlib.sha256(b"abcd").hexdigest()

    stored = store(tmp_path, [b"ab", b"cd"])
    path = tmp_path / stored.name

    assert (stored.sha256, stored.size) == (sha256, 4)
    assert stored.name == f"documents/{sha256[:2]}/{sha256[2:4]}/{sha256}.pdf"
    assert path.read_bytes() == b"abcd"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_same_content_is_one_file(tmp_path):
    """
    The second writer finds the file; a cut one is written again.
    """
    path = tmp_path / store(tmp_path, [b"abcd"]).name
    inode = path.stat().st_ino
    store(tmp_path, [b"abcd"])

    assert path.stat().st_ino == inode

    path.write_bytes(b"ab")
    store(tmp_path, [b"abcd"])

    assert path.read_bytes() == b"abcd"
    assert _files(tmp_path) == [path]


def test_an_error_of_the_source_leaves_nothing(tmp_path):
    """
    Chunks that end with an error leave no temporary file.
    """

    def broken():
        yield b"ab"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store(tmp_path, broken())

    assert _files(tmp_path) == []


def test_a_full_disk_leaves_nothing(tmp_path):
    """
    A file that may not grow is as a full disk: the error is reported, and nothing is left.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            store(tmp_path, [b"a" * 999, b"b" * 999])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert _files(tmp_path) == []


def test_writers_at_once_do_not_disturb_each_other(tmp_path):
    """
    Many threads store the same content; one whole file results.
    """
    barrier = threading.Barrier(8)

    def write():
        barrier.wait()
        store(tmp_path, [b"ab"] * 1000)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [path.read_bytes() for path in _files(tmp_path)] == [b"ab" * 1000]
