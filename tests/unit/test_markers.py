"""Which tests a run leaves out."""

import pytest

from tests.unit.conftest import LEFT_OUT

PLAIN = "not slow and not docker and not kubernetes and not nightly"


@pytest.mark.nightly
def test_a_nightly_test_runs_only_when_asked_for(request: pytest.FixtureRequest) -> None:
    """
    Plain `pytest` leaves a test marked `nightly` out; `-m nightly` runs it.
    """
    assert "nightly" == request.config.option.markexpr


def test_plain_runs_leave_out_what_takes_long(request: pytest.FixtureRequest) -> None:
    """
    pyproject.toml deselects it, so that a newcomer need not.
    """
    assert ["-m", PLAIN] == request.config.getini("addopts")[-2:]


def test_no_unit_test_is_left_out(request: pytest.FixtureRequest) -> None:
    """
    Unit tests run each time, but for the one above: a marker would lose another without a word.
    """
    ours = "tests/unit/test_markers.py::test_a_nightly_test_runs_only_when_asked_for"

    assert {ours} >= set(request.config.stash[LEFT_OUT])
