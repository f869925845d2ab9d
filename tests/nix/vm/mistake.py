# ruff: noqa: F821 - the names are the test driver's
"""A mistake is named, and the worker stays down until it is mended."""

UNIT = "task-server-prefork.service"
SWITCH = "bin/switch-to-configuration test >&2"

machine.wait_for_unit(UNIT)

for specialisation, named in (("misspelt", "concurency"), ("unmounted", "/sata does not exist")):
    with subtest(f"{specialisation}: the worker names it, and stays down"):
        machine.execute(f"/run/booted-system/specialisation/{specialisation}/{SWITCH}")
        machine.wait_until_succeeds(f"systemctl is-failed {UNIT}", timeout=60)
        machine.succeed(f"journalctl --unit={UNIT} | grep '{named}' >&2")
        status = machine.succeed(f"systemctl show --property=ExecMainStatus --value {UNIT}")
        assert status.strip() == "78", status

    with subtest(f"{specialisation}: mended, it runs"):
        machine.succeed(f"/run/booted-system/{SWITCH}")
        machine.wait_for_unit(UNIT)
