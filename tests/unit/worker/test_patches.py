"""The table of what a worker replaces: each row can be trusted; tests/acceptance has the rest."""

import importlib.util
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from task_server.config.pools import POOLS
from task_server.worker.patches import _PATCHES, PATCHES, SUPPORTED
from task_server.worker.patching import patch

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_no_target_has_two_rows() -> None:
    """
    A row says all about its target.
    """
    assert len(_PATCHES) == len(PATCHES)


@pytest.mark.parametrize("row", PATCHES.values(), ids=lambda row: row.target)
def test_a_row_names_a_module_of_ours_and_releases(row) -> None:
    """
    Who replaces it can be found, for which pool, and the releases are a specifier.
    """
    assert importlib.util.find_spec(f"task_server.{row.by}") is not None
    assert row.pool is None or row.pool in POOLS
    assert SpecifierSet(row.versions)
    assert row.why


def test_the_supported_releases_are_those_of_pyproject() -> None:
    """
    A wider range there has to be looked at here.
    """
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    listed = project["dependencies"] + project["optional-dependencies"]["gevent"]
    ranges = {each.name: each.specifier for each in map(Requirement, listed)}

    for package in ("celery", "kombu", "redis", "gevent"):
        assert SpecifierSet(SUPPORTED[package]) == ranges[package]


def test_what_the_table_lacks_is_not_replaced() -> None:
    """
    A new patch without a row fails at once.
    """
    with pytest.raises(LookupError, match="PATCHES"):
        patch(importlib.util, "find_spec", None)

    assert callable(importlib.util.find_spec)
