"""Kombu's own tests of its Redis transport, from its source distribution."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kombu
import pytest

from tests.integration.transport.inapplicable import INAPPLICABLE
from tests.integration.transport.peers import Started
from tests.integration.transport.sdist import unpacked_tests

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "src"

SUITES = (
    "t/unit/transport/test_redis.py",
    "t/integration/test_redis.py",
    "t/integration/test_redis_brpop_qos.py",
)


@pytest.fixture(scope="module")
def kombu_tests(require: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked_tests("kombu", tmp_path_factory.mktemp("kombu"), require)


@pytest.mark.slow
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
