"""`--version` says the revision: of a build as it was written, of a checkout as git has it."""

import subprocess
from pathlib import Path

import pytest

from task_server.cli.revision import of_checkout, revision

SOURCES = "src/task_server"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a repository with one commit."""
    for words in (
        ("init", "--quiet", "--initial-branch", "trunk"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one", "--allow-empty"),
    ):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    (tmp_path / SOURCES).mkdir(parents=True)
    return tmp_path


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_checkout_says_what_git_says(checkout: Path) -> None:
    """
    On a branch, packed or not, detached, and in a second work tree.
    """
    expected = git(checkout, "rev-parse", "HEAD")[:12]

    assert expected == revision(checkout / SOURCES)
    git(checkout, "worktree", "add", "--quiet", "-b", "other", "second")
    assert expected == of_checkout(checkout / "second")
    git(checkout, "pack-refs", "--all")
    assert expected == of_checkout(checkout)
    assert expected == of_checkout(checkout / "second")
    git(checkout, "checkout", "--quiet", "--detach")
    assert expected == of_checkout(checkout)


def test_a_build_says_what_was_written_into_it(checkout: Path) -> None:
    """
    Also where an installation lies in a checkout of something else.
    """
    (checkout / SOURCES / "revision.txt").write_text("0123456789abcdef\n")

    assert "0123456789ab" == revision(checkout / SOURCES)


@pytest.mark.parametrize("head", ["", "ref: refs/heads/none\n", "\0", "ref: ../../etc/passwd\n"])
def test_what_cannot_be_found_is_unknown(head: str, tmp_path: Path) -> None:
    """
    Neither an installation without the file nor a broken repository is an error.
    """
    assert "unknown" == revision(tmp_path / SOURCES)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head)

    assert "unknown" == revision(tmp_path / SOURCES)
