"""What the checks of the Nix files share: the files, and the nix binary."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.require import Require

ROOT = Path(__file__).resolve().parents[2]


class Evaluate(Protocol):
    """Returns the value of a Nix expression; paths in it are relative to the repository."""

    def __call__(self, expression: str) -> Any: ...


def nix_files() -> list[Path]:
    """Return every Nix file of the repository."""
    folders = [ROOT / "nix", ROOT / "templates", ROOT / "tests"]
    return [ROOT / "flake.nix", *sorted(file for top in folders for file in top.rglob("*.nix"))]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def nix_instantiate(
    require: Require, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], dict[str, str]]:
    """Return the command, and an environment in which it writes nothing but to a folder of ours."""
    binary = shutil.which("nix-instantiate")
    if binary is None:
        require("nix", "nix-instantiate is not on PATH; apt-get install nix-bin")
    home = tmp_path_factory.mktemp("nix")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("NIX_")}
    folders = {
        "HOME": "home",
        "NIX_STORE_DIR": "store",
        "NIX_STATE_DIR": "state",
        "NIX_LOG_DIR": "log",
        "NIX_CONF_DIR": "conf",
    }
    for name, folder in folders.items():
        (home / folder).mkdir()
        environ[name] = str(home / folder)
    return [binary, "--store", "dummy://"], environ


@pytest.fixture(scope="session")
def evaluate(nix_instantiate: tuple[list[str], dict[str, str]]) -> Evaluate:
    """Return what evaluates an expression that needs no nixpkgs."""
    command, environ = nix_instantiate

    def value(expression: str) -> Any:
        done = subprocess.run(
            [*command, "--eval", "--strict", "--json", "--expr", expression],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return value
