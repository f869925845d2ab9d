"""A Redis of one test alone."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from task_server.errors import LocalServerError
from tests.support.redis import Redis


@pytest.fixture
def own_broker(require: Any) -> Iterator[Redis]:
    """Return a server that a test may harm, in a folder with a path short enough for a socket."""
    with TemporaryDirectory(prefix="ts") as name:
        server = Redis(Path(name), patience=None)
        try:
            server.start()
        except LocalServerError as error:
            require("redis", str(error))
        yield server
        server.stop()
