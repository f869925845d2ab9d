"""What is checked in beside the Dockerfile's template is what is written from the tables."""

from pathlib import Path
from runpy import run_path

import pytest

DOCKER = Path(__file__).parents[2] / "deploy" / "docker"


@pytest.mark.parametrize(
    ("writer", "file"), [("dockerfile.py", "Dockerfile"), ("compose.py", "compose.yml")]
)
def test_a_file_is_what_is_written(writer: str, file: str) -> None:
    """
    After a change of image.json, services.toml or the version, the writer is to be run.
    """
    assert run_path(str(DOCKER / writer))["written"]() == (DOCKER / file).read_text()
