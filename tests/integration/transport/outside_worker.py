"""
A pytest plugin: the session's worker of Celery's own tests is one that already runs.

SUITE_NODE is its node name, SUITE_LEFT_OUT names tests that are not run, and the
outcome of each other is written to SUITE_OUTCOMES.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from celery.contrib import pytest as fixtures

OUTCOMES: dict[str, str] = {}


@pytest.fixture(scope="session")
def celery_session_worker(
    celery_session_app: Any, celery_includes: Any, celery_class_tasks: Any
) -> str:
    """Make the tasks known to the tests' app, as Celery's fixture does, and start nothing."""
    for module in celery_includes:
        celery_session_app.loader.import_task_module(module)
    for task in celery_class_tasks:
        celery_session_app.register_task(task)
    return os.environ["SUITE_NODE"]


# The suite's conftest imports it from there.
fixtures.celery_session_worker = celery_session_worker


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is listed or does not use the worker, and give the rest its name."""
    left_out = set(json.loads(os.environ["SUITE_LEFT_OUT"]))
    names = {item: item.nodeid.partition("[")[0] for item in items}
    if unknown := left_out - set(names.values()):
        raise pytest.UsageError(f"there are no such tests to leave out: {sorted(unknown)}")
    used = [
        item
        for item in items
        if names[item] not in left_out
        and "celery_session_worker" in getattr(item, "fixturenames", ())
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in used])
    items[:] = used
    for item in used:
        module: Any = getattr(item, "module", None)
        if hasattr(module, "NODENAME"):
            # Celery calls a worker in the tests' own process after its pid.
            module.NODENAME = os.environ["SUITE_NODE"]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the worst of a test's phases."""
    if report.failed:
        OUTCOMES[report.nodeid] = "failed"
    else:
        outcome = "skipped" if report.skipped else "passed"
        if report.when == "call" or report.skipped:
            OUTCOMES.setdefault(report.nodeid, outcome)


def pytest_sessionfinish() -> None:
    Path(os.environ["SUITE_OUTCOMES"]).write_text(json.dumps(OUTCOMES))
