"""The files of documents under MEDIA_ROOT, named by their content."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A stored file: *name* relative to MEDIA_ROOT, *size* in bytes."""

    name: str
    sha256: str
    size: int


def store(root: Path, chunks: Iterable[bytes]) -> StoredFile:
    """
    Write *chunks* to ``documents/ab/cd/<sha256>.pdf`` under *root*.

    The file is there wholly or not at all, also after a power cut, and two
    writers of the same content do not disturb each other.

    Raises:
        OSError: If it cannot be written. Nothing is left behind then, nor
            after an error of *chunks*.
    """
    folder = root / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    # The name depends on the content, so the file starts in the folder above,
    # which is on the same file system.
    descriptor, temporary = tempfile.mkstemp(prefix=".incoming-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
            file.flush()
            sha256 = digest.hexdigest()
            name = f"documents/{sha256[:2]}/{sha256[2:4]}/{sha256}.pdf"
            target = root / name
            if not _has_size(target, size):
                # mkstemp() makes it private; the web server must read it.
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
                target.parent.mkdir(parents=True, exist_ok=True)
                Path(temporary).replace(target)
                _sync_folder(target.parent)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return StoredFile(name=name, sha256=sha256, size=size)


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
