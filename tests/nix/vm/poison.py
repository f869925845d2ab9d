# ruff: noqa: F821 - the names are the test driver's
"""A task that its worker dies of is moved to the dead letters, and the others run."""

MEDIA = "/var/lib/task-server/media"

machine.wait_for_unit("task-server-prefork.service")
machine.succeed("errand die poison", "errand sleep after 1")

with subtest("the task is among the dead letters, with its name"):
    machine.wait_until_succeeds("task-server dead list | grep errands.die >&2", timeout=240)

with subtest("the tasks behind it run"):
    machine.wait_for_file(f"{MEDIA}/after.done")
    machine.succeed("task-server health prefork --ready")
