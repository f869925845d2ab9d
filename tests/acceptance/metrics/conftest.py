"""A Redis, workers on both pools, and the metrics of their project."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.worker.conftest import broker, folder, send, start, stock, transport
from tests.support.metrics import Metrics
from tests.support.redis import Redis

__all__ = ["broker", "folder", "send", "start", "stock", "transport"]


@pytest.fixture
def serve(folder: Path, broker: Redis) -> Iterator[Callable[..., Metrics]]:
    """Start the metrics of the broker, with arguments and settings, and wait until they listen."""
    with ExitStack() as stack:

        def started(*arguments: str, **settings: Any) -> Metrics:
            url = settings.pop("url", broker.url)
            one = Metrics(folder, url, *arguments, **settings)
            return stack.enter_context(one).ready()

        yield started
