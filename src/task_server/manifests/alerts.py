"""The alert rules: deploy/prometheus is their source, and a wheel has a copy of it."""

from pathlib import Path
from typing import Any

import yaml

#: Where the build puts it (hatch_build.py), and where it is in a checkout.
PACKAGED = Path(__file__).with_name("alerts.yml")
SOURCE = Path(__file__).parents[3] / "deploy" / "prometheus" / "task-server.rules.yml"


def alerts() -> dict[str, Any]:
    """Return the rules, as Prometheus reads them."""
    path = PACKAGED if PACKAGED.exists() else SOURCE
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found
