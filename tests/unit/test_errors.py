"""A finding is a line; findings are an exit code."""

import pytest

from task_server.errors import Finding, exit_code

OK = Finding("ok", "redis", "answers")
WARNING = Finding("warning", "events", "on")
WRONG = Finding("error", "queue feeds", "no worker takes from it", "add it")
ABSENT = Finding("error", "redis", "refused", "start it", peer=True)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], 0),
        ([OK, WARNING], 0),
        ([OK, ABSENT], 69),
        ([WRONG, WARNING], 78),
        ([WRONG, ABSENT], 78),
    ],
)
def test_the_exit_code_tells_configuration_from_absence(found: list[Finding], code: int) -> None:
    """
    Warnings pass; a server that does not answer is 69, anything else wrong 78.
    """
    assert code == exit_code(found)


def test_a_line_ends_in_the_repair() -> None:
    """
    A line is level, setting, what is wrong, and the step that repairs it.
    """
    assert "error: queue feeds: no worker takes from it; add it" == str(WRONG)
