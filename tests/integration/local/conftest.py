"""State folders and supervisors of one test, apart from the session's servers."""

import contextlib
import io
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from task_server import local
from tests.support import proc

#: Starts servers and whatever `more` adds, prints their pids in one line of
#: JSON, and waits for a signal.
PROGRAM = """
import json, os, sys
from task_server import local
from tests.support import proc

state = local.State.open(sys.argv[1])
servers = [
    getattr(local, name).find(state, os.environ) for name in ("redis", "postgres")
]
environ = dict(os.environ)
for server in servers:
    environ.update(server.environ)
with state.lock(), local.Supervisor(environ=environ) as supervisor:
    children = [server.child for server in servers if server.child]
    supervisor.start_all(children)
    more = [local.Child(environ=environ, **options) for options in json.loads(sys.argv[2])]
    for child in more:
        supervisor.start(child)
    report = {"uid": os.getuid(), "where": {server.name: server.where for server in servers}}
    report["environ"] = {k: v for server in servers for k, v in server.environ.items()}
    report["pids"] = {child.name: supervisor.pid(child) for child in [*children, *more]}
    print("STARTED " + json.dumps(report), flush=True)
    supervisor.run()
print("ENDED", flush=True)
"""


@dataclass
class Running:
    """A supervisor in a process of its own; *report* is what it prints when all are ready."""

    process: subprocess.Popen[str]
    report: dict[str, Any]

    @property
    def environ(self) -> Mapping[str, str]:
        """What clients of its servers need."""
        environ: dict[str, str] = self.report["environ"]
        return environ

    def rest(self) -> list[str]:
        """Return the lines until its end."""
        assert self.process.stdout is not None
        lines = [line.rstrip("\n") for line in self.process.stdout]
        self.process.wait(30)
        return lines


@pytest.fixture
def state(tmp_path: Path) -> Iterator[local.State]:
    """Return a state folder whose path can stand neither in a URL nor unquoted anywhere."""
    state = local.State.open(tmp_path / "A 'State'")
    yield state
    shutil.rmtree(state.socket_folder())


@pytest.fixture
def supervisor() -> Iterator[local.Supervisor]:
    with local.Supervisor(io.StringIO(), signals=False) as running:
        yield running


class Run(Protocol):
    """Starts `PROGRAM` on *folder*, with *more* children, behind the command *prefix*."""

    def __call__(
        self,
        folder: Path,
        more: Sequence[Mapping[str, object]] = (),
        prefix: Sequence[str] = (),
        **variables: str,
    ) -> Running: ...


@pytest.fixture
def run() -> Iterator[Run]:
    """Run `PROGRAM` on a state folder; ended, with SIGTERM if need be, after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(
        folder: Path,
        more: Sequence[Mapping[str, object]] = (),
        prefix: Sequence[str] = (),
        **variables: str,
    ) -> Running:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", PROGRAM, str(folder), json.dumps(list(more))],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        lines: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("STARTED "):
                return Running(process, json.loads(line.removeprefix("STARTED ")))
            lines.append(line.rstrip("\n"))
        pytest.fail("the program ended:\n" + "\n".join(lines))

    yield start
    for process in started:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def family() -> Iterator[Callable[[int], dict[int, int]]]:
    """Open a pidfd for a process and each of its descendants, by pid."""
    opened: list[int] = []

    def find(pid: int) -> dict[int, int]:
        parents = proc.parents()
        members = {pid}
        while more := {p for p, parent in parents.items() if parent in members} - members:
            members |= more
        handles = {}
        for member in members:
            # What `up` starts to ask something may end between the look into /proc and this.
            with contextlib.suppress(ProcessLookupError):
                handles[member] = os.pidfd_open(member)
        opened.extend(handles.values())
        return handles

    yield find
    for handle in opened:
        os.close(handle)


@pytest.fixture
def survivors() -> Callable[[dict[int, int], float], set[int]]:
    """Wait for the end of processes; returns the pids of those that did not."""

    def wait(handles: dict[int, int], seconds: float) -> set[int]:
        poll = select.poll()
        by_handle = {handle: pid for pid, handle in handles.items()}
        for handle in by_handle:
            poll.register(handle, select.POLLIN)
        while by_handle:
            ready = poll.poll(seconds * 1000)
            if not ready:
                break
            for handle, _ in ready:
                poll.unregister(handle)
                del by_handle[handle]
        return set(by_handle.values())

    return wait


@pytest.fixture(scope="session")
def psycopg3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Return a folder with psycopg 3.

    Beside psycopg2 in the environment of the tests Django would take it everywhere.
    """
    if "psycopg3" not in os.environ.get("TASK_SERVER_REQUIRE", "").split(","):
        pytest.skip("TASK_SERVER_REQUIRE does not name psycopg3")
    folder = tmp_path_factory.mktemp("psycopg3")
    command = ("uv", "pip", "install", "--quiet", "--python", sys.executable, "--target", folder)
    subprocess.run([*command, "psycopg[binary,pool]>=3.2"], check=True)
    return folder
