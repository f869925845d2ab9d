"""Docker, as its users type it; and what a test waits for in it."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.passwords import hear
from tests.support.wait import until

NETWORK = "cl_net_overlay"


def docker(*arguments: str | Path, check: bool = True, **options: Any) -> str:
    """Run docker with *arguments*, and return what it printed."""
    done = subprocess.run(
        ["docker", *map(str, arguments)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    assert not check or done.returncode == 0, f"{done.args}: {done.stdout}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Container:
    """A container by its name."""

    name: str

    @property
    def state(self) -> dict[str, Any]:
        """What `docker inspect` says of its state."""
        loaded: dict[str, Any] = json.loads(
            docker("inspect", "--format", "{{json .State}}", self.name)
        )
        return loaded

    def logs(self) -> str:
        return docker("logs", self.name)

    def hear(self, words: str, seconds: float = 60) -> str:
        """Wait until its log has *words*; return all of the log."""

        def heard() -> str:
            log = self.logs()
            if words not in log and not self.state["Running"]:
                raise AssertionError(f"ended without {words!r}:\n{log}")
            return log if words in log else ""

        try:
            return until(heard, f"{self.name} to say {words!r}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def wait(self) -> int:
        """Wait for its end, and return the exit code."""
        return int(docker("wait", self.name, timeout=90))

    def execute(self, *command: str, check: bool = True) -> str:
        return docker("exec", self.name, *command, check=check)

    def health(self) -> str:
        """Return what Docker thinks of it: starting, healthy, unhealthy."""
        return str(self.state["Health"]["Status"])

    def address(self, port: int) -> tuple[str, int]:
        """Return where its TCP *port* is found on this machine."""
        host, _, number = docker("port", self.name, str(port)).splitlines()[0].rpartition(":")
        return host, int(number)


@contextmanager
def running(*arguments: str | Path, name: str = "") -> Iterator[Container]:
    """Have a container of `docker run ARGUMENTS` in the background; remove it at the end."""
    container = Container(name or f"task-server-test-{uuid4().hex[:8]}")
    docker("run", "--detach", "--name", container.name, *arguments)
    try:
        yield container
    finally:
        said = docker("logs", container.name, check=False)
        docker("rm", "--force", "--volumes", container.name, check=False)
        hear(said)


def options(**values: str | Path) -> Sequence[str]:
    """Return `--env NAME=VALUE` for each of *values*."""
    return [word for name, value in values.items() for word in ("--env", f"{name}={value}")]
