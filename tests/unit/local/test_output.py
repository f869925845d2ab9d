"""The log of all children on one terminal."""

import io
import os

import pytest

from task_server.local.supervisor.output import Log, wants_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "environ", "expected"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_unless_set(
    out: io.StringIO,
    environ: dict[str, str],
    expected: bool,  # noqa: FBT001
) -> None:
    """
    Colour is for terminals; FORCE_COLOR asks for it elsewhere, NO_COLOR forbids it everywhere.
    """
    assert expected == wants_colour(out, environ)


def test_the_prefix_has_one_width() -> None:
    """
    Lines of all children begin in the same column.
    """
    out = io.StringIO()
    log = Log(out, colour=False, width=8)
    log.write("redis", "one")
    log.write("postgres", "two")

    assert "redis    | one\npostgres | two\n" == out.getvalue()


def test_each_name_keeps_its_colour() -> None:
    """
    A name has one colour, and the next name another.
    """
    out = io.StringIO()
    log = Log(out, colour=True, width=1)
    for name in "aba":
        log.write(name, "")
    first, second, third = out.getvalue().splitlines()

    assert first == third
    assert first.split("m")[0] != second.split("m")[0]


def test_what_the_terminal_cannot_show_is_escaped() -> None:
    """
    A line with signs outside the encoding of the output is written, not an error.
    """
    raw = io.BytesIO()
    log = Log(io.TextIOWrapper(raw, encoding="ascii"), colour=False, width=1)
    log.write("a", "naïve")

    assert b"a | na\\xefve\n" == raw.getvalue()


def test_a_reader_that_went_away_is_noticed() -> None:
    """
    A closed pipe makes the log broken; it raises nothing.
    """
    reader, writer = os.pipe()
    os.close(reader)
    out = os.fdopen(writer, "w")
    log = Log(out, colour=False)
    log.write("a", "line")

    assert log.broken
    with pytest.raises(BrokenPipeError):
        out.close()
