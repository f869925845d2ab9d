"""A task that always fails."""

import pytest

from tests.support.scene import Scene
from tests.support.worker import EITHER

pytestmark = pytest.mark.slow

FAILURES = 12


@pytest.mark.parametrize("pool", EITHER)
def test_a_task_that_always_fails(pool: str, scene: Scene) -> None:
    """
    The task and its queue, how often and of how many; then, by what that says to run, each id,
    the error, the worker.
    """
    node = scene.worker(pool).heartbeat().node
    tasks = {scene.send("fail", "no such docket") for _ in range(FAILURES)}

    said = scene.wrong("site1.tasks.fail", f"{FAILURES} of {FAILURES} failed in the last 5 min")

    assert 1 == said.code
    assert "a minute, in celery" in said.wrong["site1.tasks.fail"]
    assert "-> task-server failed list --task site1.tasks.fail" in said.wrong["site1.tasks.fail"]
    listed = scene.run("failed", "list", "--task", "site1.tasks.fail")
    assert all(task in listed.stdout for task in tasks)
    assert "ValueError: no such docket" in listed.stdout
    shown = scene.run("failed", "show", min(tasks)).stdout
    assert f"worker     {node} (pid " in shown
    assert "raise ValueError(text)" in shown
    page = scene.page("failedtask/")
    assert f"{FAILURES} of {FAILURES} failed" in page
    assert all(task in page for task in tasks)
    failed = "celery_task_failed_total"
    assert FAILURES == scene.scraped(failed, name="site1.tasks.fail")
    scene.alert("TaskServerTasksFail", a_minute={failed: FAILURES})
