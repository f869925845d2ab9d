"""What we give to others has nothing that the static rules find."""

from pathlib import Path

import pytest

from task_server.checks.static import scan
from task_server.config.loader import find, load

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("project", ["src/docket", "templates/django"])
def test_a_project_of_ours_has_no_finding(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The reference project, and the one that `nix flake init` copies.
    """
    monkeypatch.chdir(ROOT / project)

    assert list(Path.cwd().rglob("tasks.py"))
    assert [] == scan((".",), load(find(Path.cwd()), {}))
