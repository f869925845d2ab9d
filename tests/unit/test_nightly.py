"""Long tests stay out of each run."""

import pytest


@pytest.mark.nightly
def test_a_nightly_test_runs_only_when_asked_for(request: pytest.FixtureRequest) -> None:
    """
    Plain `pytest` leaves a test marked `nightly` out; `-m nightly` runs it.
    """
    assert "nightly" == request.config.option.markexpr


def test_plain_runs_leave_nightly_tests_out(request: pytest.FixtureRequest) -> None:
    """
    pyproject.toml deselects them, so that .ci/run need not.
    """
    assert ["-m", "not nightly"] == request.config.getini("addopts")[-2:]
