# ruff: noqa: F821 - the names are the test driver's
"""A password that is refused keeps the worker down, is named, and is in no log."""

UNIT = "task-server-prefork.service"

machine.wait_for_unit("redis.service")

with subtest("the worker ends with 78 and is not tried again"):
    machine.wait_until_succeeds(f"systemctl is-failed {UNIT}", timeout=120)
    status = machine.succeed(f"systemctl show --property=ExecMainStatus --value {UNIT}")
    assert status.strip() == "78", status
    restarts = machine.succeed(f"systemctl show --property=NRestarts --value {UNIT}")
    assert restarts.strip() == "0", restarts

with subtest("it says that the password was refused, without showing it"):
    machine.succeed(f"journalctl --unit={UNIT} | grep password >&2")
    machine.fail("journalctl | grep the-wrong-one")

with subtest("with the right one it runs"):
    machine.succeed(
        "echo redis://:the-right-one@127.0.0.1:6379/0 >/run/secrets/broker-url",
        f"systemctl restart {UNIT}",
    )
    machine.wait_for_unit(UNIT)
