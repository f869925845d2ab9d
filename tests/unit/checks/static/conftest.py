"""Projects of a few files, and what the static rules find in them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from task_server.checks.static import scan
from task_server.config.loader import find, load
from task_server.errors import Finding

Scan = Callable[..., list[Finding]]


def written(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write *files*, by their names, into *folder*."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scan:
    """Return what writes files, reads them as `check --static` does, and returns its findings."""
    monkeypatch.chdir(tmp_path)

    def run(files: Mapping[str, str | bytes], *paths: str) -> list[Finding]:
        written(tmp_path, files)
        return scan(paths or (".",), load(find(tmp_path), {}))

    return run


def places(findings: list[Finding]) -> list[tuple[str, str, int]]:
    """Return rule, file and line of each finding."""
    return [(one.rule, one.path, one.line) for one in findings]
