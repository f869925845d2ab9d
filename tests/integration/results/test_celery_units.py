"""Celery's own tests of its Redis backend hold for ours."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from tests.integration.transport.sdist import unpacked_tests

TESTS: Final = "t/unit/backends/test_redis.py"

_PICKLED: Final = "it is pickled as Celery's class, whose name has ours here"
_CLAIMS: Final = (
    "a part that runs again finds its own claim (task_server.results.claims), and sends the body "
    "again: with Celery nobody sends it when the first run was killed in between"
)
_PART: Final = f"{TESTS}::test_RedisBackend_chords_simple::test"

#: Those that do not hold, with the reason of each.
INAPPLICABLE: Final[Mapping[str, str]] = {
    f"{TESTS}::test_RedisBackend::test_reduce": _PICKLED,
    f"{TESTS}::test_SentinelBackend::test_reduce": _PICKLED,
    f"{_PART}_on_chord_part_return__last_part_runs_again": _CLAIMS,
    f"{_PART}_on_chord_part_return__duplicate_with_existing_claim": _CLAIMS,
    f"{_PART}_extended_claim_survives_publishing_past_initial_ttl": _CLAIMS,
}

#: How many must pass; Celery 5.7.0 has 193 that do.
FEWEST: Final = 60


@pytest.mark.slow
def test_celerys_tests_of_its_backend_hold_for_ours(require: Any, tmp_path: Path) -> None:
    """
    All but those that are listed.
    """
    folder = unpacked_tests("celery", tmp_path, require)
    report = tmp_path / "report.xml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", TESTS, "-q", "-W", "ignore", f"--junitxml={report}"),
            *("-p", "tests.integration.results.substitute", "-p", "no:cacheprovider"),
            *("--override-ini=python_classes=test_*", "--override-ini=timeout=300"),
            *("--rootdir", str(folder), f"--basetemp={tmp_path / 'run'}"),
            *(f"--deselect={name}" for name in INAPPLICABLE),
        ],
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout[-8000:] + done.stderr[-2000:]
    suite = ElementTree.parse(report).getroot()[0]  # noqa: S314 - pytest has written it
    assert FEWEST <= int(suite.attrib["tests"]) - int(suite.attrib["skipped"])
