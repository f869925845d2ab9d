"""The tests of an installed distribution, from its source distribution."""

import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def unpacked_tests(distribution: str, folder: Path, require: Any) -> Path:
    """
    Return the unpacked source distribution of the installed version, of its tests only.

    Without the code beside them, the tests import what is installed.
    """
    own = [sys.executable, "-m", "pip"] if find_spec("pip") else None
    pip = own or [shutil.which("pip3") or shutil.which("pip") or ""]
    if not pip[0]:
        require(f"{distribution}-sdist", "there is no pip to download it with")
    found = version(distribution)
    done = subprocess.run(
        [
            *(*pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--no-binary", distribution, f"{distribution}=={found}", "--dest", str(folder)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    archive = folder / f"{distribution}-{found}.tar.gz"
    if not archive.exists():
        require(f"{distribution}-sdist", done.stderr.strip()[-500:])
    with tarfile.open(archive) as tar:
        tests = [member for member in tar.getmembers() if "/t/" in member.name]
        # Debian 12 has a Python without filters.
        filtered = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(folder, tests, **filtered)  # noqa: S202 - with one where there is one
    return folder / f"{distribution}-{found}"
