"""One Redis a test, and a table at the end of the run."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import Marks, Redis

from task_server.errors import LocalServerError

_ROWS: list[tuple[str, ...]] = []
HEAD = ("fault", "worker", "sent", "lost", "extra runs", "resumes after", "alive")


@pytest.fixture
def broker(require) -> Iterator[Redis]:
    """Return a running Redis in a folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        server = Redis(Path(folder))
        try:
            server.start()
        except LocalServerError as error:
            require("redis", str(error))
        yield server
        server.kill()


@pytest.fixture
def marks(broker: Redis) -> Marks:
    """Return where the runs are written."""
    return Marks(broker.folder)


@pytest.fixture
def row() -> Callable[..., None]:
    """Add a row to the table."""

    def add(*fields: object) -> None:
        _ROWS.append(tuple(str(field) for field in fields))

    return add


@pytest.fixture(scope="session")
def kills() -> int:
    """Return how many times each worker is killed: FAULTS_KILLS, or a few."""
    return int(os.environ.get("FAULTS_KILLS", "8"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if _ROWS:
        terminalreporter.section("faults")
        rows = [HEAD, *((*row, *[""] * (len(HEAD) - len(row))) for row in _ROWS)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
            terminalreporter.write_line(line.rstrip())
