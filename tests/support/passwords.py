"""
No password that a test uses may stand in a log, or in what a command prints.

Heard are the test's own process, each command of ours that a test runs to its end, and the logs of
workers, beats, metrics and containers, when they are ended.
"""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

#: Those that tests use and that no other text of a log contains. Not what a task says itself in an
#: exception, which Celery logs as it is.
PASSWORDS = ("hunter2", "hunter3", "sesame", "the-right-one", "wrong-and-secret", "correct-horse")

#: The passwords that were heard in the present test, each with the text around it; None between
#: tests, where only what many share is ended.
_heard: dict[str, str] | None = None

#: Characters that are shown on either side of one.
AROUND = 120


def found_in(text: str) -> set[str]:
    """Return the passwords that *text* has."""
    return {one for one in PASSWORDS if one in text}


def hear(text: str | bytes | None) -> None:
    """
    Let the present test fail if *text*, which a process of ours has written, has a password.

    Raises:
        AssertionError: If there is no present test.
    """
    said = text.decode(errors="replace") if isinstance(text, bytes) else text or ""
    for one in found_in(said):
        place = said.index(one)
        around = said[max(0, place - AROUND) : place + AROUND]
        assert _heard is not None, around
        _heard[one] = around


@pytest.fixture(autouse=True)
def no_password_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """After each test: nothing that was heard names a password."""
    global _heard  # noqa: PLW0603 - whoever ends a process has no other way to this test
    _heard = heard = {}
    communicate = subprocess.Popen.communicate

    def hearing(process: Any, *args: Any, **options: Any) -> Any:
        output = communicate(process, *args, **options)
        words = [process.args] if isinstance(process.args, str | bytes) else process.args
        if any("task_server" in str(word) or "task-server" in str(word) for word in words):
            for text in output:
                hear(text)
        return output

    monkeypatch.setattr(subprocess.Popen, "communicate", hearing)
    yield
    for record in caplog.get_records("call"):
        hear(record.getMessage())
    _heard = None
    assert {} == heard
