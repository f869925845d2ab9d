"""The stack on a swarm, as an operator deploys it, and what a test asks it."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.acceptance.docker.engine import Container, docker
from tests.acceptance.docker.image import ROOT
from tests.support.passwords import hear
from tests.support.wait import until

FILE = ROOT / "deploy" / "swarm" / "stack.yml"

PROGRAM = "/opt/task-server/bin/task-server"


@dataclass(frozen=True)
class Stack:
    """A stack by its name."""

    name: str

    def containers(self, service: str) -> list[Container]:
        """Return the containers of *service* that run now."""
        label = f"com.docker.swarm.service.name={self.name}_{service}"
        names = docker("ps", "--filter", f"label={label}", "--format", "{{.Names}}")
        return [Container(name) for name in names.split()]

    def ready(self, service: str, count: int = 1, seconds: float = 120) -> list[Container]:
        """Wait until *count* workers of *service* take tasks, and return their containers."""

        def found() -> list[Container]:
            there = self.containers(service)
            if len(there) != count:
                return []
            asked = [
                one.execute(PROGRAM, "health", service, "--ready", check=False) for one in there
            ]
            return there if all(": ready:" in answer for answer in asked) else []

        try:
            return until(found, f"{count} of {service}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tasks(service)}") from None

    def tasks(self, service: str) -> str:
        """Return what the swarm says of the tasks of *service*, errors included."""
        wanted = "{{.Name}} {{.CurrentState}} {{.Error}}"
        return docker("service", "ps", "--no-trunc", "--format", wanted, f"{self.name}_{service}")

    def specification(self, service: str) -> dict[str, object]:
        """Return how the swarm understood the service."""
        loaded: dict[str, object] = json.loads(
            docker("service", "inspect", "--format", "{{json .Spec}}", f"{self.name}_{service}")
        )
        return loaded


def deploy(name: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `docker stack deploy` with *environ* beside the variables of this process."""
    return subprocess.run(
        ["docker", "stack", "deploy", "--compose-file", FILE, name],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environ},
    )


@contextmanager
def deployed(name: str, environ: Mapping[str, str]) -> Iterator[Stack]:
    """Have the stack *name*; remove it at the end, and wait until it is gone."""
    done = deploy(name, environ)
    assert done.returncode == 0, done.stdout
    try:
        yield Stack(name)
    finally:
        label = f"label=com.docker.stack.namespace={name}"
        there = docker("ps", "--all", "--quiet", "--filter", label).split()
        # Docker has a copy of what goes to the journal.
        said = [docker("logs", one, check=False) for one in there]
        docker("stack", "rm", name)
        until(lambda: not docker("ps", "--quiet", "--filter", label), "the stack to end", 120)
        hear("\n".join(said))
