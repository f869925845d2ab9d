# ruff: noqa: F821 - the names are the test driver's
"""A switch restarts the worker that changed, which drains; the others keep running."""

MEDIA = "/var/lib/task-server/media"
WORKERS = ("prefork", "gevent", "lasting")


def pids() -> dict[str, str]:
    """Return the main process of each worker."""
    return {
        name: machine.succeed(
            f"systemctl show --property=MainPID --value task-server-{name}"
        ).strip()
        for name in WORKERS
    }


for name in WORKERS:
    machine.wait_for_unit(f"task-server-{name}.service")
before = pids()
machine.succeed("errand sleep first 10", "errand sleep second 1")
machine.wait_for_file(f"{MEDIA}/first.begun")
machine.succeed("/run/booted-system/specialisation/other/bin/switch-to-configuration test >&2")
after = pids()

with subtest("the worker that changed is another, and lost no task"):
    assert before["prefork"] != after["prefork"]
    machine.succeed(f"test -e {MEDIA}/first.done")
    machine.wait_for_file(f"{MEDIA}/second.done")

with subtest("one that did not change is the same"):
    assert before["gevent"] == after["gevent"]

with subtest("so is one that changed and is to outlive a switch"):
    assert before["lasting"] == after["lasting"]
