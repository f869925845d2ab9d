"""kubectl, as an operator types it."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.support.wait import PATIENCE, until


@dataclass(frozen=True)
class Kubectl:
    """The program, for one user and one namespace."""

    program: Path
    kubeconfig: Path
    namespace: str = "default"

    def within(self, namespace: str) -> "Kubectl":
        """Return the same for another namespace."""
        return replace(self, namespace=namespace)

    def run(
        self, *words: str | Path, given: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run it; return its end, whatever it is."""
        return subprocess.run(
            [self.program, "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, *words],
            check=False,
            capture_output=True,
            text=True,
            input=given,
            timeout=900,
        )

    def __call__(self, *words: str | Path, given: str | None = None) -> str:
        """Run it; return what it printed, without warnings."""
        done = self.run(*words, given=given)
        assert done.returncode == 0, (
            f"kubectl {' '.join(map(str, words))}: {done.stderr}{done.stdout}"
        )
        return done.stdout

    def json(self, *words: str) -> Any:
        """Return an object or a list of the cluster."""
        return json.loads(self(*words, "--output", "json"))

    def items(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """Return the objects of *kind*."""
        found: list[dict[str, Any]] = self.json("get", kind, "--selector", selector)["items"]
        return found

    def until(
        self, *words: str, seconds: float = PATIENCE, alive: Callable[[], object] = lambda: None
    ) -> str:
        """Run it until it ends well; return what it printed. *alive* may raise meanwhile."""
        done = self.run(*words)

        def well() -> bool:
            nonlocal done
            alive()
            done = self.run(*words)
            return done.returncode == 0

        try:
            until(well, f"kubectl {' '.join(words)}", seconds, pause=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}: {done.stderr}{done.stdout}") from None
        return done.stdout

    def wait(self, fact: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait until *fact* holds; when it does not, say what the namespace looks like."""
        try:
            return until(fact, what, seconds, pause=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.shown()}") from None

    def shown(self) -> str:
        """Return what a person would look at: pods, events, and the pods' last lines."""
        texts = [
            self.run("get", "all,scaledobjects", "--output", "wide").stdout,
            self.run("get", "events", "--sort-by", ".lastTimestamp").stdout[-4000:],
        ]
        for pod in self.run("get", "pods", "--output", "name").stdout.split():
            log = self.run("logs", pod, "--all-containers", "--tail", "15")
            texts.append(f"{pod}:\n{log.stdout}{log.stderr}")
        return "\n".join(texts)


def restrict(kubectl: Kubectl, namespace: str) -> None:
    """Make a namespace that enforces Pod Security `restricted`, and warns of less."""
    levels = [f"pod-security.kubernetes.io/{each}=restricted" for each in ("enforce", "warn")]
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, *levels)
