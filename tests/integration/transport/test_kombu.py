"""Kombu's own tests of its Redis transport, from its source distribution."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import kombu
import pytest
from inapplicable import INAPPLICABLE
from peers import Started

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "src"

SUITES = (
    "t/unit/transport/test_redis.py",
    "t/integration/test_redis.py",
    "t/integration/test_redis_brpop_qos.py",
)


@pytest.fixture(scope="module")
def kombu_tests(require, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the unpacked source distribution of the installed Kombu, of its tests only."""
    folder = tmp_path_factory.mktemp("kombu")
    own = [sys.executable, "-m", "pip"] if find_spec("pip") else None
    pip = own or [shutil.which("pip3") or shutil.which("pip") or ""]
    if not pip[0]:
        require("kombu-sdist", "there is no pip to download it with")
    version = kombu.__version__
    done = subprocess.run(
        [
            *(*pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--no-binary", "kombu", f"kombu=={version}", "--dest", str(folder)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    archive = folder / f"kombu-{version}.tar.gz"
    if not archive.exists():
        require("kombu-sdist", done.stderr.strip()[-500:])
    with tarfile.open(archive) as tar:
        tests = [member for member in tar.getmembers() if "/t/" in member.name]
        tar.extractall(folder, tests, filter="data")
    return folder / f"kombu-{version}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("suite", SUITES)
def test_kombus_own_tests(
    suite: str, kombu_tests: Path, server: Started, tmp_path: Path, record_property: Callable
) -> None:
    """
    All tests of Kombu's Redis transport hold for this one, but the listed ones.
    """
    if not (kombu_tests / suite).exists():
        pytest.skip(f"Kombu {kombu.__version__} has no {suite}")
    left_out = [f"--deselect={suite}::{name}" for name in INAPPLICABLE]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", suite, "-q", "-p", "no:cacheprovider"),
            *("-p", "substitute", "-W", "ignore", "--override-ini=python_classes=test_* Test*"),
            *("--rootdir", str(kombu_tests), "--tb=short", f"--basetemp={tmp_path / 'run'}"),
            *left_out,
        ],
        cwd=kombu_tests,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), str(SOURCES)]),
            "REDIS_HOST": "127.0.0.1",
            "REDIS_6379_TCP": str(server.port),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    summary = done.stdout.strip().splitlines()[-1]
    record_property("kombu", summary)
    print(suite, summary)

    assert done.returncode == 0, done.stdout[-8000:]
    passed = re.search(r"(\d+) passed", summary)
    assert passed is not None
    assert int(passed[1]) >= 4
