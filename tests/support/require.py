"""Peers that a run may require: without one its tests are skipped, or fail."""

import os
from typing import NoReturn, Protocol

import pytest


class Require(Protocol):
    """Ends the test because *peer* cannot be had, *reason* says why."""

    def __call__(self, peer: str, reason: str) -> NoReturn: ...


@pytest.fixture(scope="session")
def require() -> Require:
    """Skip the test for want of a peer, or fail it when the run requires that peer."""

    def end(peer: str, reason: str) -> NoReturn:
        if is_required(peer):
            pytest.fail(f"{peer} is required (TASK_SERVER_REQUIRE), but: {reason}", pytrace=False)
        pytest.skip(f"no {peer}: {reason}")

    return end


def is_required(peer: str) -> bool:
    """Whether TASK_SERVER_REQUIRE names *peer*."""
    names = os.environ.get("TASK_SERVER_REQUIRE", "").split(",")
    return peer in {name.strip() for name in names}
