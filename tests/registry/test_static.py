"""`check --static` on large projects of others: each finding has been looked at, and is right."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.require import Require

# Packages are downloaded.
pytestmark = [pytest.mark.slow, pytest.mark.nightly]

PROGRAM = Path(sys.executable).with_name("task-server")

DELAY = "delay-inside-transaction"

#: By project: the number of each rule's findings in each file. All delays stand in a function
#: that is decorated by, or in the body of, `transaction.atomic`, and send a task whose class
#: does not wait for the commit.
JUDGED: dict[str, dict[tuple[str, str], int]] = {
    "pretix==2026.8.0": {
        (DELAY, "pretix/api/views/order.py"): 4,
        (DELAY, "pretix/api/webhooks.py"): 2,
        (DELAY, "pretix/base/services/export.py"): 2,
        (DELAY, "pretix/base/services/orders.py"): 1,
        (DELAY, "pretix/control/views/event.py"): 2,
        (DELAY, "pretix/control/views/item.py"): 2,
        (DELAY, "pretix/control/views/subevents.py"): 1,
    },
    "nautobot==3.2.7": {("events-always-on", "nautobot/core/settings.py"): 1},
    # Both retry on a lock, with backoff, and max_retries=None.
    "mayan-edms==4.12.2": {("retry-without-end", "mayan/apps/document_indexing/tasks.py"): 2},
    "weblate==2026.10.1": {
        (DELAY, "weblate/billing/tasks.py"): 1,
        (DELAY, "weblate/trans/views/create.py"): 1,
        (DELAY, "weblate/trans/views/settings.py"): 3,
        (DELAY, "weblate/wladmin/views.py"): 1,
    },
    "apache-superset==6.1.0": {},
}


@pytest.fixture(scope="module")
def uv(require: Require) -> str:
    """Return the program."""
    found = shutil.which("uv")
    if found is None:
        require("uv", "uv is not on PATH; pip install uv")
    return str(found)


@pytest.mark.parametrize("project", JUDGED)
def test_a_large_project_has_no_false_alarm(project: str, uv: str, tmp_path: Path) -> None:
    """
    Errors and warnings are those that are known to be right, no other and none less.
    """
    unpacked = subprocess.run(
        [
            *(uv, "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)),
            *("--python-version", "3.13", "--python", sys.executable, project),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert 0 == unpacked.returncode, unpacked.stderr

    ended = subprocess.run(
        [PROGRAM, "check", "--static", "--json", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert 0 == ended.returncode, ended.stderr
    found = [one for one in json.loads(ended.stdout) if one["level"] != "info"]
    # A project may be written for a newer Python than runs this.
    rules = Counter((one["rule"], one["path"]) for one in found if one["rule"] != "file-not-read")
    assert JUDGED[project] == dict(rules)
