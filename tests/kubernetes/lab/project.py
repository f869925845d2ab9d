"""A project with its task-server.toml, its manifests, and what it has in the cluster."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.lab.kubectl import Kubectl
from tests.kubernetes.lab.pods import Pod


@dataclass(frozen=True)
class Project:
    """
    A project in one namespace.

    Args:
        folder: Has task-server.toml, and the manifests below `manifests`.

        kubectl: For its namespace.
    """

    name: str
    folder: Path
    kubectl: Kubectl

    def describe(self, text: str) -> None:
        """Write task-server.toml, and the manifests from it."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "task-server.toml").write_text(text)
        told(self.folder, "--output", self.manifests)

    def stream(self) -> str:
        """Return the manifests as one stream."""
        return told(self.folder)

    @property
    def manifests(self) -> Path:
        return self.folder / "manifests"

    def apply(self) -> str:
        """Apply the manifests without a warning; return what kubectl did."""
        done = self.kubectl.run("apply", "--kustomize", self.manifests)
        assert (0, "") == (done.returncode, done.stderr), done.stderr + done.stdout
        return done.stdout

    def revisions(self) -> dict[str, str]:
        """
        Return the revision of each object of the manifests, which changes with the object.

        kubectl's own word is no measure: it says "configured" of a PodDisruptionBudget each
        time, whose selector it replaces as a whole.
        """
        found = self.kubectl.json("get", "--kustomize", str(self.manifests))["items"]
        return {
            f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
            for each in found
        }

    def secret(self, name: str, **values: str) -> None:
        """Make or change a Secret."""
        literals = [f"--from-literal={key}={value}" for key, value in values.items()]
        made = self.kubectl(
            *("create", "secret", "generic", name, *literals),
            *("--dry-run=client", "--output=yaml"),
        )
        self.kubectl("apply", "--filename", "-", given=made)

    def deployments(self) -> list[str]:
        """Return the names of its Deployments."""
        return [each["metadata"]["name"] for each in self.kubectl.items("deployments")]

    def rolled_out(self, seconds: int = 600) -> None:
        """Wait until each Deployment is as it should be, as an operator does."""
        for name in self.deployments():
            done = self.kubectl.run(
                "rollout", "status", f"deployment/{name}", f"--timeout={seconds}s"
            )
            assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.kubectl.shown()}"

    def pods(self, component: str) -> list[Pod]:
        """Return the pods of one worker or service."""
        return self.kubectl.items("pods", f"app.kubernetes.io/component={component}")


def told(folder: Path, *options: str | Path) -> str:
    """Have the command write the manifests of the project in *folder*; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "task_server", "manifests", "kubernetes", *options],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
