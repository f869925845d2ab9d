"""Prometheus and its promtool, of Debian's package `prometheus`."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.require import Require

Promtool = Callable[..., str]


def program(require: Require, name: str) -> str:
    """Return the path of *name*: prometheus or promtool."""
    found = shutil.which(name)
    if found is None:
        require("prometheus", f"there is no {name}; install Debian's package prometheus")
    return found


@pytest.fixture
def promtool(require: Require) -> Promtool:
    """Run promtool in a folder; return its output, the test fails if it does."""
    return promtool_of(require)


def promtool_of(require: Require) -> Promtool:
    """Return what runs promtool."""
    path = program(require, "promtool")

    def run(folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            [path, *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run
