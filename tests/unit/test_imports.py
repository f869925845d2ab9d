"""What is said of an import that fails, and when one is taken for one that hangs."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from task_server.errors import ConfigError, Problem, TaskServerError
from task_server.project.import_errors import explained, failure
from task_server.project.import_watch import Watch


def error_of(path: Path, text: str) -> Exception:
    """Return what the program *text*, as the file *path* of the project, raises."""
    path.write_text(text)
    try:
        exec(compile(text, str(path), "exec"), {"__name__": "proj.settings"})  # noqa: S102
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        return error
    pytest.fail("it raises nothing")


def test_the_innermost_frame_of_the_project_is_named_and_not_that_of_a_library(
    tmp_path: Path,
) -> None:
    """
    `json` found the mistake, and the line that called it is the one to correct.
    """
    path = tmp_path / "settings.py"

    said = failure("proj", error_of(path, "import json\n\njson.loads('{')\n"))

    assert f" at {path}:3; " in str(said)
    assert 78 == said.exit_code


def test_a_message_of_many_lines_and_a_password_is_one_line_without_it(tmp_path: Path) -> None:
    """
    What a project writes into its error is cut and masked.
    """
    text = "raise ValueError('redis://:hunter2@db/0 ' + 'x' * 5000 + chr(10) + 'second line')"

    said = str(failure("proj", error_of(tmp_path / "settings.py", text)))

    assert "redis://:********@db/0" in said
    assert ["hunter2" in said, "second line" in said, len(said) < 700] == [False, False, True]


class RaisesError(Exception):
    def __str__(self) -> str:
        raise ValueError("no message")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RaisesError(), "RaisesError, whose message raises ValueError"),
        (ValueError("\x1b]0;title\x07\x1b[31mred"), "ValueError: ?]0;title??[31mred"),
        (ValueError("x" * 10**6), "ValueError: xxx"),
        (KeyError("\ud800"), "KeyError: "),
        (ValueError(b"\xff", "tuple"), "ValueError: (b"),
        (SystemExit(), "it ends the process (sys.exit(None))"),
        (GeneratorExit(), "GeneratorExit"),
        (SyntaxError("odd", (None, None, None, None)), "SyntaxError: odd"),
    ],
    ids=range(8),
)
def test_whatever_the_message_is_the_line_is_one_that_a_terminal_can_show(
    error: BaseException, words: str
) -> None:
    """
    The project's own code makes the message, and may make it badly.
    """
    said = str(failure("proj", error))

    assert f"proj cannot be imported: {words}" in said
    assert [1, True, True] == [len(said.splitlines()), len(said) < 700, said.isprintable()]


def test_what_is_no_exception_is_reported_and_ctrl_c_is_not() -> None:
    """
    A BaseException of the project's is a failed import; KeyboardInterrupt is the user's.
    """
    with pytest.raises(TaskServerError), explained("proj", {}):
        raise GeneratorExit
    with pytest.raises(KeyboardInterrupt), explained("proj", {}):
        raise KeyboardInterrupt


def test_an_error_without_a_message_or_a_frame_is_still_reported() -> None:
    """
    An exception that was raised nowhere names its kind.
    """
    assert "proj cannot be imported: RuntimeError in " in str(failure("proj", RuntimeError()))


def test_errors_of_ours_pass() -> None:
    """
    The layered settings name their file themselves.
    """
    with pytest.raises(ConfigError) as caught, explained("proj", {}):
        raise ConfigError([Problem("settings", "is wrong")])

    assert "settings: is wrong" in str(caught.value)


def test_a_hang_is_reported_once_in_a_thread_with_the_line() -> None:
    """
    The thread that imports waits in C; the watch says where.
    """
    said: list[TaskServerError] = []
    heard = threading.Event()

    def late(error: TaskServerError) -> None:
        said.append(error)
        heard.set()

    watch = Watch("proj", 0.2, late)
    assert heard.wait(30)
    watch.stop()

    assert f"at {__file__}:" in str(said[0])
    assert 69 == said[0].exit_code
    assert not watch.on


def test_a_watch_that_is_stopped_leaves_no_thread() -> None:
    """
    A worker forks its children from a process without other threads.
    """
    program = (
        "import os; from task_server.project.import_watch import Watch; watch = Watch('proj', 60);"
        "watch.stop(); watch.stop()\n"
        "while len(os.listdir('/proc/self/task')) > 1: pass"
    )

    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)

    assert 0 == done.returncode
