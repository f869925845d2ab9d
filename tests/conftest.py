"""
What every test stands on: a clean environment, peers that may be required, and processes.

TASK_SERVER_REQUIRE=redis,postgres,… names the peers without which a run fails;
the tests of any other peer that cannot be had are skipped, with the reason.
"""

import os
import signal

import pytest

pytest_plugins = [
    "tests.support.require",
    "tests.support.servers",
    "tests.support.program",
    "tests.faults.report",
]

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


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return three processes a core, for most tests wait; one file needs no other process."""
    if all(".py" in argument for argument in config.args):
        return 0
    return 3 * len(os.sched_getaffinity(0))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that share a fixture of their module run in one process."""
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values()
        shared = any(found[-1].scope in {"module", "package"} for found in fixtures if found)
        if shared and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
