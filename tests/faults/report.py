"""A plugin: the table of the faults at the end of the run, whichever process filled it."""

from typing import Any

import pytest

from tests.support.lab.table import Table

_TABLE = Table()

#: The lines of the tables of other processes.
_LINES: list[str] = []


@pytest.fixture(scope="session")
def table() -> Table:
    """Return the report."""
    return _TABLE


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the table to the process that prints it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["faults"] = list(_TABLE.lines())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the table of a process that has ended."""
    _LINES.extend(getattr(node, "workeroutput", {}).get("faults", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    lines = [*_TABLE.lines(), *_LINES]
    if lines:
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.write_line(line)
