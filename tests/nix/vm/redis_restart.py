# ruff: noqa: F821 - the names are the test driver's
"""Redis restarts under load, and no job is lost."""

machine.wait_for_unit("task-server-prefork.service")
machine.wait_for_unit("task-server-gevent.service")
machine.succeed("systemd-run --unit=load docket-here ingest --sample --repeat 100")
machine.succeed("systemctl restart redis-task-server.service")
machine.wait_until_succeeds(
    "systemctl show --property=ActiveState load.service | grep --quiet inactive", timeout=300
)
machine.fail("systemctl is-failed load.service")
machine.wait_until_succeeds("task-server health prefork --ready", timeout=60)
