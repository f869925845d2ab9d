"""
The program as its users run it: a child process, its output and its exit code.

Every child carries a mark in its environment, so that a test finds whatever
of it is still running.
"""

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import pytest

from tests.support.passwords import hear
from tests.support.wait import PATIENCE

MARK = "TASK_SERVER_TESTS_MARK"


@dataclass
class Ended:
    """A program that has ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def result(self) -> dict[str, Any]:
        """The JSON object on standard output."""
        loaded: dict[str, Any] = json.loads(self.stdout)
        return loaded

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON objects on standard output, one a line."""
        return [json.loads(line) for line in self.stdout.splitlines()]


@dataclass
class Program:
    """Starts `task-server`, or another *module*, in *folder* with *environ* and a mark."""

    folder: Path
    environ: Mapping[str, str]
    module: str = "task_server"
    #: Both outputs in one pipe, that of stdout.
    one_pipe: bool = False
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str | Path, **environ: str) -> subprocess.Popen[str]:
        """Start the program with pipes for its output."""
        process = subprocess.Popen(
            [sys.executable, "-m", self.module, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environ, **environ, MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if self.one_pipe else subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: str | Path, **environ: str) -> Ended:
        """Run the program to its end."""
        process = self.start(*arguments, **environ)
        stdout, stderr = process.communicate(timeout=PATIENCE)
        return Ended(process.returncode, stdout, stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.communicate(timeout=60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def alive(self) -> dict[int, str]:
        """Return pid and command line of all processes that belong to this program."""
        needle = f"{MARK}={self.mark}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                words = (folder / "cmdline").read_bytes().split(b"\0")
                inside = (folder / "cwd").readlink().is_relative_to(self.folder)
            except OSError:
                continue
            # Redis writes its title over its environment, but works in our folder.
            if any(words) and (needle in variables or inside):
                found[int(folder.name)] = b" ".join(words).decode(errors="replace")
        return found

    def left(self, seconds: float = PATIENCE) -> dict[int, str]:
        """Return what still runs after *seconds*; nothing as soon as all has ended."""
        deadline = time.monotonic() + seconds
        while alive := self.alive():
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    process = os.pidfd_open(pid)
                    remaining = max(0.0, deadline - time.monotonic())
                    readable, _, _ = select.select([process], [], [], remaining)
                    os.close(process)
                    if not readable:
                        return alive
        return {}


class Output:
    """The lines of a program that goes on, as they come; of *pipe*, or of its standard output."""

    def __init__(self, process: subprocess.Popen[str], pipe: IO[str] | None = None) -> None:
        pipe = pipe or process.stdout
        assert pipe is not None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.seen: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[str]) -> None:
        # Program closes the pipe of a child that has ended, read to its end or not.
        with contextlib.suppress(ValueError):
            for line in pipe:
                hear(line)
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, text: str) -> str:
        """Return the next line that has *text* in it."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)
            if text in line:
                return line
        pytest.fail(f"the output ended without {text!r}:\n" + "\n".join(self.seen))

    def rest(self) -> list[str]:
        """Return all lines, once the output has ended."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)
        return self.seen


@contextlib.contextmanager
def program_in(folder: Path) -> Iterator[Program]:
    """Have the program in *folder*; what of it still runs is ended."""
    environ = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    # Tests of docket set Django up in this process; a newcomer's shell names no settings.
    environ.pop("DJANGO_SETTINGS_MODULE", None)
    with Program(folder, environ) as one:
        yield one


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """Return the program, in an empty folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with program_in(folder) as one:
        yield one
