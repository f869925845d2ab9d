"""
The walks of people who put task-server to work: projects that are not ours, the wheel, a shell.

The wheel is built from the checkout once a run; walks that do not begin with the installation
share a virtual environment.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.once import made_once
from tests.support.program import MARK, Ended, Output, Program
from tests.support.require import Require
from tests.support.wait import PATIENCE

ROOT = Path(__file__).parents[3]

#: What the README's line installs.
EXTRAS = "embedded,flower,gevent,psycopg2"


@dataclass
class Walk(Program):
    """Runs lines of a shell in *folder*; *home* is that of its user, and has to stay empty."""

    home: Path = field(default_factory=Path)

    def start(self, *arguments: str | Path, **environ: str) -> "subprocess.Popen[str]":
        """Start a line of a shell."""
        (line,) = map(str, arguments)
        process = subprocess.Popen(
            # bash, since a shell of one command should become it, as a terminal's signals have it.
            ["bash", "-c", line],
            cwd=self.folder,
            env={**self.environ, **environ, MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: str | Path, **environ: str) -> Ended:
        """Run a line to its end: one that installs takes what the network takes."""
        process = self.start(*arguments, **environ)
        stdout, stderr = process.communicate()
        return Ended(process.returncode, stdout, stderr)

    def says(self, line: str, **environ: str) -> str:
        """Run a line that has to succeed; return what it prints."""
        done: Ended = self(line, **environ)
        assert 0 == done.returncode, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self, line: str = "task-server up --flower-port 0") -> "Up":
        """Start everything, and wait until it is up."""
        return Up(self, self.start(f"exec {line}"))


class Up:
    """A `task-server up` that runs."""

    def __init__(self, walk: Walk, process: "subprocess.Popen[str]") -> None:
        self.walk = walk
        self.process = process
        self.errors = Output(process, process.stderr)
        self.output = Output(process)
        try:
            self.output.until("Up: ")
        except BaseException:
            print("\n".join(self.errors.rest()))
            raise
        self.text = "\n".join(self.output.seen)

    @property
    def exports(self) -> Mapping[str, str]:
        """The variables that were printed for the project's other processes."""
        found = (re.fullmatch(r"  export (\w+)=(\S+)", line) for line in self.output.seen)
        return {one[1]: one[2].strip("'") for one in found if one}

    def stop(self) -> None:
        """End it as Ctrl-C does; nothing of it is left."""
        self.process.send_signal(signal.SIGINT)
        assert 0 == self.process.wait(timeout=PATIENCE), "\n".join(self.output.rest())
        assert {} == self.walk.left()


@pytest.fixture(scope="session")
def uv(require: Require) -> str:
    """Return the program."""
    found = shutil.which("uv")
    if found is None:
        require("uv", "uv is not on PATH; pip install uv")
    return found


def bare_environ() -> dict[str, str]:
    """Return an environment that knows nothing of this run's virtual environment."""
    kept = ("PATH", "LANG", "HOME", "UV_CACHE_DIR", "UV_COMPILE_BYTECODE", "PIP_CERT")
    kept += ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_INDEX_URL", "UV_INDEX_URL")
    found = {name: value for name, value in os.environ.items() if name in kept or "PROXY" in name}
    # pip keeps its own cache and settings where the real home is.
    return {**found, "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def run(*command: str | Path, folder: Path | None = None) -> None:
    words = [str(part) for part in command]
    done = subprocess.run(
        words, cwd=folder, env=bare_environ(), capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr


@pytest.fixture(scope="session")
def wheel(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout."""

    def build(folder: Path) -> None:
        run(uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT)

    return next(made_once(tmp_path_factory, "wheel", build).glob("*.whl"))


@pytest.fixture(scope="session")
def installed(uv: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of an environment with the wheel, its extras, and Django."""

    def install(folder: Path) -> None:
        # Relocatable, for it is made in a folder that is renamed.
        run(uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, folder)
        wanted = f"task-server[{EXTRAS}] @ {wheel.as_uri()}"
        run(uv, "pip", "install", "--quiet", "--python", folder, wanted, "django>=5.2,<5.3")

    return made_once(tmp_path_factory, "installed", install) / "bin"


@pytest.fixture
def bare_walk(tmp_path: Path) -> Iterator[Walk]:
    """Return a shell in an empty folder, with nothing installed."""
    folder, home = tmp_path / "folder", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    with Walk(folder, bare_environ(), home=home) as walk:
        yield walk


@pytest.fixture
def walk(bare_walk: Walk, installed: Path) -> Walk:
    """Return a shell in an empty folder, with task-server installed as the README has it."""
    environ = bare_walk.environ
    bare_walk.environ = {
        **environ,
        "PATH": f"{installed}:{environ['PATH']}",
        "HOME": str(bare_walk.home),
    }
    return bare_walk
