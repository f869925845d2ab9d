"""
What every test stands on: a clean environment, and peers that may be required.

TASK_SERVER_REQUIRE=redis,postgres,… names the peers without which a run fails;
the tests of any other peer that cannot be had are skipped, with the reason.
"""

import os
import signal
from typing import NoReturn, Protocol

import pytest

pytest_plugins = ["tests.servers"]

_KEPT = {"TASK_SERVER_REQUIRE", "TASK_SERVER_DOCUMENTS"}
_DROPPED = {"REDIS_URL", "REDIS_CLIENT_URL", "DATABASE_URL"}
_DROPPED_PREFIXES = ("TASK_SERVER_", "PG", "CELERY_")

# Before any test module is imported: settings of the developer's shell must
# neither help nor hurt a test.
for _name in list(os.environ):
    if _name in _DROPPED or (_name.startswith(_DROPPED_PREFIXES) and _name not in _KEPT):
        del os.environ[_name]

# A shell ignores SIGINT for what it starts in the background, and so would
# every child of a test: Ctrl-C would stop nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Require(Protocol):
    """Ends the test because *peer* cannot be had, *reason* says why."""

    def __call__(self, peer: str, reason: str) -> NoReturn: ...


@pytest.fixture(scope="session")
def require() -> Require:
    """Skip the test for want of a peer, or fail it when the run requires that peer."""
    required = {name.strip() for name in os.environ.get("TASK_SERVER_REQUIRE", "").split(",")}

    def end(peer: str, reason: str) -> NoReturn:
        if peer in required:
            pytest.fail(f"{peer} is required (TASK_SERVER_REQUIRE), but: {reason}", pytrace=False)
        pytest.skip(f"no {peer}: {reason}")

    return end
