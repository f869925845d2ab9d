"""Suppression in comments."""

import pytest

from tests.unit.checks.static.conftest import Scan, places

RETRY = "retry-without-end"
TASK = """from celery import shared_task


@shared_task(autoretry_for=(OSError,), retry_backoff=True, max_retries=None){}
def fetch(url):
    ...
"""


@pytest.mark.parametrize(
    "source",
    [
        TASK.format(f"  # task-server: ignore[{RETRY}] it ends when the account does"),
        f"# task-server: ignore[{RETRY}] all of them do\n" + TASK.format(""),
        f'"""Tasks."""\n# task-server: ignore[{RETRY}]\n' + TASK.format(""),
        TASK.format("").replace(
            "def fetch(url):", f"def fetch(url):  # task-server: ignore[{RETRY}]"
        ),
    ],
    ids=["line", "head", "after the docstring", "a line of what it is about"],
)
def test_a_comment_suppresses_a_rule(source: str, found: Scan) -> None:
    """
    At the lines of what is found, or before the first statement.
    """
    assert [] == found({"tasks.py": source})


@pytest.mark.parametrize(
    ("comment", "rule"),
    [
        ("# task-server: ignore[retry-without-ends]", "suppression-unknown-rule"),
        ("# task-server: ignore", "suppression-unknown-rule"),
        ("# task-server: ignore[]", "suppression-unknown-rule"),
        ("# task-server: ignore[eager-mode]", "suppression-unused"),
    ],
)
def test_a_comment_that_suppresses_nothing(comment: str, rule: str, found: Scan) -> None:
    """
    It is reported, as is what it was meant for.
    """
    rules = [one.rule for one in found({"tasks.py": TASK.format(f"  {comment}")})]

    assert [RETRY, rule] == rules


def test_what_looks_like_a_comment_in_a_text_is_none(found: Scan) -> None:
    """
    A text with those words neither suppresses nor is unused.
    """
    source = f"TEXT = '''\n# task-server: ignore[{RETRY}]\n'''\n"

    assert [(RETRY, "tasks.py", 7)] == places(found({"tasks.py": source + TASK.format("")}))


def test_a_comment_further_down_suppresses_nothing_above(found: Scan) -> None:
    """
    On a line of its own after the first statement it is for no other line.
    """
    source = TASK.format("") + f"# task-server: ignore[{RETRY}]\n"

    assert [(RETRY, 4), ("suppression-unused", 7)] == [
        (one.rule, one.line) for one in found({"tasks.py": source})
    ]
