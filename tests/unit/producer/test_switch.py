"""The producer's switch: a variable, or a line of task-server.toml."""

from pathlib import Path

import pytest

from task_server.errors import ConfigError
from task_server.producer.switch import is_on


def test_it_is_on_without_a_word(tmp_path: Path) -> None:
    """
    No line has to be written for it.
    """
    assert is_on({}, tmp_path)


@pytest.mark.parametrize(("text", "expected"), [("false", False), ("true", True)])
def test_the_file_counts_and_the_variable_more(
    tmp_path: Path, text: str, *, expected: bool
) -> None:
    """
    As for each setting.
    """
    (tmp_path / "task-server.toml").write_text(f"producer = {text}\n")

    assert expected is is_on({}, tmp_path)
    assert (not expected) is is_on({"TASK_SERVER_PRODUCER": str(not expected).lower()}, tmp_path)


def test_pyproject_counts_too(tmp_path: Path) -> None:
    """
    A project need not have a file of ours.
    """
    (tmp_path / "pyproject.toml").write_text("[tool.task-server]\nproducer = false\n")

    assert not is_on({}, tmp_path)


def test_a_mistake_is_named(tmp_path: Path) -> None:
    """
    With the setting and where it stands.
    """
    (tmp_path / "task-server.toml").write_text('producer = "perhaps"\n')

    with pytest.raises(ConfigError, match=r"producer.*task-server\.toml"):
        is_on({}, tmp_path)
    with pytest.raises(ConfigError, match="TASK_SERVER_PRODUCER"):
        is_on({"TASK_SERVER_PRODUCER": "perhaps"}, tmp_path)


@pytest.mark.parametrize("text", ["this is no TOML", "tool = 1", "workers = 3\n"])
def test_what_else_is_wrong_in_the_file_stops_no_web_server(tmp_path: Path, text: str) -> None:
    """
    `task-server check` says it.
    """
    (tmp_path / "pyproject.toml").write_text(f"{text}\n# [tool.task-server]\n")

    assert is_on({}, tmp_path)
