"""What is missing or too old in the project's environment is named before the worker starts."""

import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from task_server.config.pools import POOLS
from task_server.errors import ConfigError
from task_server.launch.requirements import DJANGO, FLOWER, METRICS, NEEDED, check, check_flower

ROOT = Path(__file__).parents[2]

GOOD = {
    "celery": "5.6.2",
    "kombu": "5.7.0",
    "redis": "8.1.0",
    "packaging": "26.0",
    "gevent": "25.5.1",
    "django": "6.0.7",
}


def versions(**changed: str | None) -> Callable[[str], str]:
    found = {**GOOD, **changed}

    def version_of(package: str) -> str:
        version = found.get(package)
        if version is None:
            raise PackageNotFoundError(package)
        return version

    return version_of


def test_the_tested_versions_are_right() -> None:
    """
    Neither pool complains about what is tested; prefork needs no gevent, and no worker Django.
    """
    check(POOLS["gevent"], versions())
    check(POOLS["prefork"], versions(gevent=None, django=None))


def test_everything_wrong_is_named_at_once() -> None:
    """
    Too old, too new and missing packages are reported together, with the versions to install.
    """
    with pytest.raises(ConfigError) as caught:
        check(
            POOLS["gevent"],
            versions(celery="5.5.3", kombu="5.8.0rc1", packaging=None, django="4.2.11"),
        )

    assert [
        "celery: 5.5.3 is too old; the worker needs celery>=5.6.2,<5.8",
        "kombu: 5.8.0rc1 is not tested; the worker needs kombu>=5.6.2,<5.8",
        "packaging: is not installed; add packaging>=23 to the project's dependencies",
        "django: 4.2.11 is too old; the worker needs django>=5.2",
    ] == [str(problem) for problem in caught.value.problems]


def test_flower_is_named_where_it_is_missing() -> None:
    """
    A worker does without Flower; the command `flower` does not.
    """
    check(POOLS["gevent"], versions())
    with pytest.raises(ConfigError) as caught:
        check_flower(versions())

    assert ["flower: is not installed; add flower>=2.0.1 to the project's dependencies"] == [
        str(problem) for problem in caught.value.problems
    ]


def _project(folder: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]


def test_the_bounds_are_those_of_the_project() -> None:
    """
    pyproject.toml promises the same range that the worker checks.
    """
    ours = _project(".")
    extras = ours["optional-dependencies"]
    declared = {
        line.replace("[hiredis]", "")
        for line in (
            *ours["dependencies"],
            *extras["gevent"],
            *extras["flower"],
            *extras["metrics"],
            *_project("src/docket")["dependencies"],
        )
    }
    packages = [pool.package for pool in POOLS.values() if pool.package]
    checked = {
        f"{package}>={lowest}" + (f",<{above}" if above else "")
        for package, lowest, above in (*NEEDED, *packages, FLOWER, METRICS, DJANGO)
    }

    assert checked <= declared


def test_a_project_gets_nothing_that_its_workers_do_without() -> None:
    """
    Celery, the client of Redis and our command line; no ceiling but that of what is tested.

    celery[redis] and kombu[redis] would bring Kombu's own ceiling on redis-py.
    """
    assert [
        "celery",
        "click",
        "kombu",
        "packaging",
        "pybase64",
        "redis[hiredis]",
        "rich",
    ] == sorted(line.partition(">")[0] for line in _project(".")["dependencies"])
