"""All of it: control plane, nodes, images, and the servers that pods reach."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes import build
from tests.kubernetes.lab import images, machine, servers
from tests.kubernetes.lab.control import GATEWAY, Children, Control
from tests.kubernetes.lab.keys import NODES
from tests.kubernetes.lab.kubectl import Kubectl, restrict
from tests.kubernetes.lab.node import Node


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs; *images* are docket's by their kind."""

    folder: Path
    control: Control
    nodes: dict[str, Node]
    database: servers.Database
    images: dict[str, str]

    @property
    def kubectl(self) -> Kubectl:
        return self.control.kubectl

    @contextmanager
    def namespace(self, name: str) -> Iterator[Kubectl]:
        """Have a namespace that enforces Pod Security `restricted`; its pods end with it."""
        restrict(self.kubectl, name)
        kubectl = self.kubectl.within(name)
        try:
            yield kubectl
        finally:
            # Else pods would be made for those that go.
            kubectl.run("delete", "namespace", name, "--wait=false")
            kubectl.run("delete", "pods", "--all", "--force", "--grace-period=0")

    def log(self, name: str) -> str:
        """Return the end of a program's log."""
        return (self.folder / "log" / f"{name}.log").read_text(errors="replace")[-5000:]


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Have a cluster below *folder*, its nodes ready, and every image on them."""
    archive = folder / "images.tar"
    names = images.save(archive)
    with ExitStack() as stack:
        stack.enter_context(machine.kept(GATEWAY))
        starts = Children(folder)
        stack.callback(starts.end)
        control = Control(starts, build.VERSIONS["kubernetes"]["newest"])
        control.start()
        control.start_controllers()
        nodes = {}
        for name in NODES:
            nodes[name] = Node(name, folder / name, control)
            # More than a gigabyte, of which no log is.
            stack.callback(shutil.rmtree, nodes[name].images, ignore_errors=True)
            stack.callback(nodes[name].end)
            nodes[name].start(archive)
        archive.unlink()
        database = stack.enter_context(servers.postgres(folder / "postgres"))
        yield Cluster(folder, control, nodes, database, names)
