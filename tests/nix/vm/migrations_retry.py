# ruff: noqa: F821 - the names are the test driver's
"""Migrations are tried until the database is there, and then the workers start."""

MIGRATE = "task-server-migrate.service"

machine.wait_for_unit("multi-user.target")

with subtest("without a database the migrations are tried again, and no worker starts"):
    machine.wait_until_succeeds(
        f"test 0 -lt $(systemctl show --property=NRestarts --value {MIGRATE})", timeout=120
    )
    machine.fail("systemctl is-active task-server-prefork.service")

with subtest("with one they run, and the workers start without being asked"):
    machine.succeed("systemctl start postgresql.target")
    machine.wait_for_unit(MIGRATE, timeout=120)
    machine.wait_for_unit("task-server-prefork.service", timeout=120)
    machine.succeed(
        "runuser --user postgres -- psql errands --command 'select * from errands_errand' >&2"
    )
