# ruff: noqa: F821 - the names are the test driver's
"""A stop is warm: what runs may end, what waits goes back, and so does what takes too long."""

MEDIA = "/var/lib/task-server/media"
UNIT = "task-server-prefork.service"


def ended() -> str:
    """Return what systemd says of the worker's end."""
    return machine.succeed(f"systemctl show --property=Result --value {UNIT}").strip()


machine.wait_for_unit(UNIT)

with subtest("a running task ends, one that waits goes back to the queue"):
    machine.succeed("errand sleep first 10", "errand sleep second 1")
    machine.wait_for_file(f"{MEDIA}/first.begun")
    machine.succeed("systemctl stop task-server.target")
    # Nothing is waited for: the stop returns when the worker has drained.
    machine.succeed(f"test -e {MEDIA}/first.done", f"test ! -e {MEDIA}/second.begun")
    assert ended() == "success", ended()
    assert machine.succeed("waiting celery").strip() == "1"

with subtest("the next worker runs it"):
    machine.succeed("systemctl start task-server.target")
    machine.wait_for_file(f"{MEDIA}/second.done")

with subtest("a task that outlasts the drain goes back to the queue"):
    machine.succeed("errand sleep third 300")
    machine.wait_for_file(f"{MEDIA}/third.begun")
    machine.succeed("systemctl stop task-server.target", timeout=60)
    machine.succeed(f"test ! -e {MEDIA}/third.done")
    assert ended() == "success", ended()
    assert machine.succeed("waiting celery").strip() == "1"
