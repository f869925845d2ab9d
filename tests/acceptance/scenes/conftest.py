"""One broker, project, web process and metrics for all incidents; workers for each."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from task_server.errors import LocalServerError
from tests.support.prometheus import promtool_of
from tests.support.require import Require
from tests.support.scene import Scene, Theatre


@pytest.fixture(scope="session")
def theatre(require: Require) -> Iterator[Theatre]:
    """Return what sees all incidents."""
    with TemporaryDirectory(prefix="ts") as name:
        try:
            with Theatre(Path(name)) as one:
                yield one
        except LocalServerError as error:
            require("redis", str(error))


@pytest.fixture
def scene(theatre: Theatre, require: Require, tmp_path: Path) -> Iterator[Scene]:
    """Return an incident that begins with nothing wrong."""
    with closing(Scene(theatre, tmp_path, lambda: promtool_of(require))) as one:
        yield one
