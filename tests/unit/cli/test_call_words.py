"""The words of `task-server call` as values."""

from datetime import UTC, datetime
from typing import Any

import pytest

from task_server.cli.call_words import arguments_of, expiry_of, moment_of, value_of


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1", 1),
        ("-1.5", -1.5),
        ("true", True),
        ("True", "True"),
        ("null", None),
        ("'a'", "'a'"),
        ('"a"', "a"),
        ("", ""),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("01", "01"),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 10_000, "9" * 10_000),
    ],
)
def test_a_word_is_json_or_itself(word: str, value: Any) -> None:
    """
    Whatever somebody writes is a value, and never an error.
    """
    assert value == value_of(word)


@pytest.mark.parametrize(
    ("words", "kwargs"), [(("a=1", "a=2"), None), (("a=1",), '{"a": 1}'), ((), "[]"), ((), "x")]
)
def test_a_name_is_given_once(words: tuple[str, ...], kwargs: str | None) -> None:
    """
    In a word, or in the object; which must be one.
    """
    with pytest.raises(ValueError, match=r"twice|no JSON object"):
        arguments_of(words, kwargs)


def test_bytes_that_are_no_text_are_refused() -> None:
    """
    No message can carry them.
    """
    with pytest.raises(ValueError, match="not text"):
        arguments_of(["\udcff"], None)


def test_times_have_a_zone() -> None:
    """
    That of the app, unless they name one; an expiry may be seconds.
    """
    assert datetime(2026, 1, 2, tzinfo=UTC) == moment_of("2026-01-02", UTC)
    assert "+01:00" in moment_of("2026-01-02T10:00+01:00", UTC).isoformat()
    assert 90.0 == expiry_of("90", UTC)
    for wrong in ("0", "-1", "nan", "inf", "1e300", "soon", ""):
        with pytest.raises(ValueError, match="is"):
            expiry_of(wrong, UTC)
