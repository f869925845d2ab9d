"""
A plugin: how many processes of pytest-xdist run the tests, and which tests stay together.

The marker `xdist_group` does not do it: pytest-xdist 3.8 writes the group into a name that
pytest 9.2 no longer reads.
"""

import functools
import os
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

#: One engine of containers, one theatre, one cluster, and one pair of workers of docket serve all
#: their tests.
TOGETHER = (
    "tests/acceptance/docker/",
    "tests/acceptance/scenes/",
    "tests/integration/docket/",
    "tests/kubernetes/",
)


class GroupScheduling(LoadScopeScheduling):
    """Gives the tests of a group to one process, and every other test to the next that is free."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return a name that all tests of one group have, and no other."""
    file = nodeid.partition("::")[0]
    for folder in TOGETHER:
        if file.startswith(folder):
            return folder
    # One table at the end is of all faults.
    if file.startswith("tests/faults/") and "table: Table" in _text(file):
        return "tests/faults/"
    conftest = str(Path(file).with_name("conftest.py"))
    if any('scope="module"' in _text(each) for each in (file, conftest)):
        return file
    return nodeid


@functools.cache
def _text(file: str) -> str:
    path = Path(__file__).parents[2] / file
    return path.read_text() if path.exists() else ""


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    """Take ours for whatever --dist names."""
    return GroupScheduling(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return three processes a core, for most tests wait; one file needs no other process."""
    if all(".py" in argument for argument in config.args):
        return 0
    return 3 * len(os.sched_getaffinity(0))
