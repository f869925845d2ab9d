"""Values that are written as TOML are read back as they were."""

import tomllib
from typing import Any

import pytest

from task_server.config.toml import toml

ODD = "line\nline\x00\x7f\x85\u2028"


@pytest.mark.parametrize(
    "value", ["", 'a "b" \\c', ODD, "Zoë 日本 🙂", True, 0, -1.5, 1e22, ("a", "b")]
)
def test_a_value_is_read_back(value: Any) -> None:
    found = tomllib.loads(f"one = {toml(value)}")["one"]

    assert value == (tuple(found) if isinstance(found, list) else found)
    assert type(value) in (type(found), tuple)


def test_what_is_no_text_in_utf_8_is_written_all_the_same() -> None:
    """
    A lone surrogate, as of a file name that is not UTF-8.
    """
    written = toml("a\udce9b")

    assert {"one": "a?b"} == tomllib.loads(f"one = {written}")
