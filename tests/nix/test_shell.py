"""The development shell finds the folder of the workspace, wherever it is entered."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout whose project is in the folder `backend`."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "backend" / "library" / "api").mkdir(parents=True)
    (tmp_path / "backend" / "uv.lock").touch()
    (tmp_path / "docs").mkdir()
    return tmp_path


def repo_root(root: Path, folder: Path, below: str = "") -> str:
    """Return REPO_ROOT of a shell that is entered in *folder*."""
    program = f"workspace_subfolder={below}\n{(root / 'nix' / 'repo-root.sh').read_text()}"
    done = subprocess.run(
        ["bash", "-euc", f'{program}\nprintf %s "$REPO_ROOT"'],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize("entered", ["backend", "backend/library", "backend/library/api"])
def test_the_root_is_the_folder_of_the_lock(root: Path, checkout: Path, entered: str) -> None:
    """
    A project in a subfolder of the repository is editable there, also from below it.
    """
    assert str(checkout / "backend") == repo_root(root, checkout / entered)


@pytest.mark.parametrize("entered", [".", "docs"])
def test_the_root_is_found_from_outside_the_project(
    root: Path, checkout: Path, entered: str
) -> None:
    """
    `nix develop ./backend`, typed elsewhere in the repository, finds the project too.
    """
    assert str(checkout / "backend") == repo_root(root, checkout / entered, "/backend")


def test_without_a_lock_the_root_is_the_top_of_the_checkout(root: Path, checkout: Path) -> None:
    """
    As before, where nothing better is known.
    """
    assert str(checkout) == repo_root(root, checkout / "docs")
