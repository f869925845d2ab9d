from collections.abc import Callable
from pathlib import Path

import pytest

#: Ids of the tests of this folder that a plain run leaves out.
LEFT_OUT = pytest.StashKey[list[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Find what `-m` is about to leave out."""
    here = Path(__file__).parent
    config.stash[LEFT_OUT] = [
        item.nodeid
        for item in items
        if item.path.is_relative_to(here)
        and any(item.get_closest_marker(name) for name in ("slow", "docker", "nightly"))
    ]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a task-server.toml and return its path."""

    def write_toml(text: str) -> Path:
        path = tmp_path / "task-server.toml"
        path.write_text(text)
        return path

    return write_toml
