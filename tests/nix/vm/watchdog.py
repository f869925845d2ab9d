# ruff: noqa: F821 - the names are the test driver's
"""A task that blocks the loop of gevent costs the worker, not the night."""

MEDIA = "/var/lib/task-server/media"

machine.wait_for_unit("task-server-gevent.service")
machine.succeed("errand --queue io_bound stall blocker 600")
machine.wait_for_file(f"{MEDIA}/blocker.begun")

with subtest("systemd ends the worker and starts another"):
    machine.wait_until_succeeds(
        "test 0 -lt $(systemctl show --property=NRestarts --value task-server-gevent)", timeout=240
    )
    machine.succeed("journalctl --unit=task-server-gevent | grep --ignore-case watchdog >&2")
    machine.wait_for_unit("task-server-gevent.service")

with subtest("the next worker takes tasks, and the one that was lost"):
    machine.succeed("errand --queue io_bound sleep after 1")
    machine.wait_for_file(f"{MEDIA}/after.done")
    machine.wait_for_file(f"{MEDIA}/blocker.done", timeout=180)
