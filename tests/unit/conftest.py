from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a task-server.toml and return its path."""

    def write_toml(text: str) -> Path:
        path = tmp_path / "task-server.toml"
        path.write_text(text)
        return path

    return write_toml
