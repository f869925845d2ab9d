"""An earlier version of ours, as it is in the history of this repository."""

import subprocess
from pathlib import Path

#: The last revision without leases: version 0.1, as far as its transport goes.
BEFORE_LEASES = "89c1577e5623fe86b6edd236c908ecfc1c0d6fa1"

ROOT = Path(__file__).parents[3]


def sources_of(revision: str, folder: Path) -> Path:
    """
    Export the sources of *revision* into *folder*; return what PYTHONPATH must name.

    Raises:
        OSError: There is no git, or no such revision, as in a shallow clone or an sdist.
    """
    archive = folder / "sources.tar"
    made = subprocess.run(
        ["git", "-C", ROOT, "archive", "--output", archive, revision, "src"],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        raise OSError(made.stderr.strip())
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    return folder / "src"
