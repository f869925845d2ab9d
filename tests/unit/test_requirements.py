"""What is missing or too old in the project's environment is named before the worker starts."""

import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from task_server.errors import ConfigError
from task_server.requirements import DJANGO, GEVENT, NEEDED, check

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
    check("gevent", versions())
    check("prefork", versions(gevent=None, django=None))


def test_everything_wrong_is_named_at_once() -> None:
    """
    Too old, too new and missing packages are told together, with the versions to install.
    """
    with pytest.raises(ConfigError) as caught:
        check("gevent", versions(celery="5.5.3", kombu="5.8.0rc1", packaging=None, django="4.2.11"))

    assert [
        "celery: 5.5.3 is too old; the worker needs celery>=5.6.2,<5.8",
        "kombu: 5.8.0rc1 is not tested; the worker needs kombu>=5.6.2,<5.8",
        "packaging: is not installed; add packaging>=0 to the project's dependencies",
        "django: 4.2.11 is too old; the worker needs django>=5.2",
    ] == [str(problem) for problem in caught.value.problems]


def test_the_bounds_are_those_of_the_project() -> None:
    """
    pyproject.toml promises the same range that the worker checks.
    """
    path = Path(__file__).parents[2] / "pyproject.toml"
    declared = {
        line.replace("[redis]", "").replace("[hiredis]", "")
        for line in tomllib.loads(path.read_text())["project"]["dependencies"]
    }
    checked = {
        f"{package}>={lowest}" + (f",<{above}" if above else "")
        for package, lowest, above in (*NEEDED, GEVENT, DJANGO)
        if package != "packaging"
    }

    assert checked <= declared
