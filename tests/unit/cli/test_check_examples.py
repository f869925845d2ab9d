"""The examples on the pages of the ordinary check's rules, run as projects."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from task_server.checks import catalogue
from tests.support.rules import files_of

PROGRAM = Path(sys.executable).with_name("task-server")

#: Those of servers and of a machine have tests with such.
NAMES = sorted((*catalogue.PROJECT, *catalogue.SHARED))


def levels(folder: Path, files: dict[str, str], name: str) -> set[str]:
    """Return the levels of what `check` finds of the rule *name* in *files*."""
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_text(text)
    grace = re.search(r"stop_grace_period: (\d+)s", files.get("compose.yml", ""))
    stop = ["--stop-grace", grace[1]] if grace else []
    ended = subprocess.run(
        [PROGRAM, "check", "--app", "shop", "--select", name, "--json", *stop],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "C_FORCE_ROOT": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.stdout, ended.stderr
    return {one["level"] for one in json.loads(ended.stdout)} - {"ok"}


@pytest.mark.parametrize("name", NAMES)
def test_the_example_triggers_the_rule_and_the_cure_does_not(name: str, tmp_path: Path) -> None:
    """
    The cured project has at most a line that explains a choice.
    """
    page = catalogue.page(name)
    example = levels(tmp_path / "example", files_of(page, "Example"), name)
    cured = levels(tmp_path / "cured", files_of(page, "Cure"), name)

    assert example
    assert cured <= {"info"}
    assert cured != example
