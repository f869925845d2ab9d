# ruff: noqa: F821 - the names are the test driver's
"""A child that is killed for its memory is replaced, and its task runs again."""

MEDIA = "/var/lib/task-server/media"
PID = "systemctl show --property=MainPID --value task-server-prefork"

machine.wait_for_unit("task-server-prefork.service")
before = machine.succeed(PID)
machine.succeed("errand eat glutton 1500")

with subtest("the kernel kills the child, and its task runs again"):
    machine.wait_for_file(f"{MEDIA}/glutton.done", timeout=120)
    machine.succeed("journalctl --dmesg | grep --ignore-case 'killed process' >&2")

with subtest("the worker is the same, and takes tasks"):
    machine.succeed("errand sleep after 1")
    machine.wait_for_file(f"{MEDIA}/after.done")
    assert machine.succeed(PID) == before
    machine.succeed("task-server health prefork")
