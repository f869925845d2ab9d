"""Where the programs are that tests/kubernetes/build.py has built."""

from pathlib import Path

from tests.kubernetes import build


def folder_of(name: str, version: str = "") -> Path:
    """Return the folder of the programs of one part."""
    return next(
        part.folder for part in build.parts() if part.name == name and version in {"", part.version}
    )
