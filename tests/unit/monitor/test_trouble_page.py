"""The page for somebody on call says after which time something is seen, as the program has it."""

import re
from pathlib import Path

import pytest
import yaml

from task_server.config.model import WorkerConfig
from task_server.launch.timing import DEFAULT_TIMING
from task_server.monitor.stuck import OVER
from task_server.monitor.trouble import LEAST, TIMES, UNKNOWN_RUN, UNKNOWN_WAIT
from task_server.monitor.workers import MISSED

ROOT = Path(__file__).parents[3]

PAGE = (ROOT / "docs" / "how-to" / "trouble.md").read_text()


def rows() -> dict[str, list[str]]:
    """Return the cells of each incident, by its name."""
    (table,) = re.findall(r"^## What one sees, and when\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("| ")
    ]
    return {name: rest for name, *rest in cells[2:]}


def test_the_alerts_come_when_their_rules_say() -> None:
    """
    Each of the table, after the minutes of its rule.
    """
    text = (ROOT / "deploy" / "prometheus" / "task-server.rules.yml").read_text()
    every = yaml.safe_load(text)["groups"][0]["rules"]
    minutes = {rule["alert"]: rule.get("for", "0m").removesuffix("m") for rule in every}
    said = re.findall(r"(TaskServer\w+), (\d+) min", PAGE)

    assert len(said) > 10
    assert [] == [(name, number) for name, number in said if minutes[name] != number]


@pytest.mark.parametrize(
    ("incident", "seen"),
    [
        ("flood: more comes than is done", f"{LEAST / 60:.0f} min at least"),
        ("flood: more comes than is done", f"{UNKNOWN_WAIT / 60:.0f} min where"),
        ("prefork: a task hangs in C", f"{OVER:.0f} s after its limit"),
        ("prefork: a task hangs in C", f"{UNKNOWN_RUN / 60:.0f} min where"),
        ("gevent: a task hangs in C", f"{MISSED * DEFAULT_TIMING.registration:.0f} s"),
        (
            "a child of a pool is stopped",
            f"{DEFAULT_TIMING.heartbeat + DEFAULT_TIMING.registration:.0f} s",
        ),
        ("a task always fails", f"{DEFAULT_TIMING.registration:.0f} s after"),
    ],
)
def test_what_is_seen_is_seen_when_the_program_says_it(incident: str, seen: str) -> None:
    """
    The numbers follow from how often a worker registers, and from the limits of `status`.
    """
    assert rows()[incident][0].startswith(seen) or f" {seen}" in rows()[incident][0]


def test_a_lease_is_as_long_as_the_page_says() -> None:
    """
    And three times what is usual is too long.
    """
    assert f"its lease is {WorkerConfig(name='w').lease_seconds:.0f} s long" in PAGE
    assert TIMES == 3
    assert f"every {DEFAULT_TIMING.registration:.0f} s" in PAGE
