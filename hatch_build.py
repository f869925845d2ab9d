"""The hook of the build: a wheel and an sdist know their revision, and have the alert rules."""

import os
import tempfile
from pathlib import Path
from runpy import run_path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: In an archive that git makes, as GitHub's are, it has written the revision there.
ARCHIVE = ".git_archival.txt"

#: The alert rules, which lie with what else is for Prometheus.
ALERTS = Path("deploy", "prometheus", "task-server.rules.yml")
ALERTS_COPY = Path("manifests", "alerts.yml")


class RevisionHook(BuildHookInterface):
    """Adds to what is built the file of the revision, and the alert rules."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable installation asks git.
        if version == "editable":
            return
        root = Path(self.root)
        package = root / "src" / "task_server"
        code = run_path(str(package / "cli" / "revision.py"))
        if (package / code["FILE"]).exists():
            # An sdist, which has the file.
            found = code["revision"](package)
        else:
            # Nix builds from a store without git.
            given = os.environ.get("TASK_SERVER_REVISION")
            found = given or code["of_checkout"](root) or _archived(root) or code["UNKNOWN"]
        # Gone with this hook, once the build has read it.
        self._written = tempfile.NamedTemporaryFile("w", encoding="ascii")  # noqa: SIM115
        self._written.write(f"{found}\n")
        self._written.flush()
        folder = "task_server" if self.target_name == "wheel" else "src/task_server"
        build_data["force_include"][self._written.name] = f"{folder}/{code['FILE']}"
        # `task-server manifests` makes a PrometheusRule of it; an sdist has it in its place.
        if not (package / ALERTS_COPY).exists():
            build_data["force_include"][str(root / ALERTS)] = f"{folder}/{ALERTS_COPY}"


def _archived(root: Path) -> str | None:
    try:
        found = (root / ARCHIVE).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return None if found.startswith("$") else found
