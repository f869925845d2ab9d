# ruff: noqa: F821 - the names are the test driver's
"""One machine: tasks on both queues, Redis restarted, a switch, a mistake, a stop."""

machine.wait_for_unit("task-server-prefork.service")
machine.wait_for_unit("task-server-gevent.service")
machine.wait_for_unit("task-server-flower.service")

with subtest("a document goes through both queues"):
    machine.succeed("docket-here ingest --sample >&2")

with subtest("the workers say that they are well"):
    for name in ("prefork", "gevent"):
        machine.succeed(f"task-server health {name} --ready >&2")

with subtest("Flower answers on this machine alone"):
    machine.wait_until_succeeds("curl --fail http://127.0.0.1:5555/healthcheck", timeout=60)
    machine.fail("ss --listening --tcp --numeric | grep 5555 | grep --invert-match 127.0.0.1")

with subtest("the units are hardened"):
    for name in ("prefork", "gevent", "flower"):
        machine.succeed(f"systemd-analyze security --threshold=15 task-server-{name}.service >&2")

with subtest("Redis is restarted under load, and no job is lost"):
    machine.succeed("systemd-run --unit=load docket-here ingest --sample --repeat 100")
    machine.succeed("systemctl restart redis-task-server.service")
    machine.wait_until_succeeds(
        "systemctl show --property=ActiveState load.service | grep --quiet inactive", timeout=300
    )
    machine.fail("systemctl is-failed load.service")
    machine.succeed("task-server health prefork --ready")

with subtest("a switch in the middle of tasks loses none"):
    before = machine.succeed(
        "systemctl show --property=MainPID --value task-server-prefork"
    ).strip()
    machine.succeed("systemd-run --unit=more docket-here ingest --sample --repeat 100")
    machine.succeed("/run/current-system/specialisation/other/bin/switch-to-configuration test >&2")
    machine.wait_until_succeeds(
        "systemctl show --property=ActiveState more.service | grep --quiet inactive", timeout=300
    )
    machine.fail("systemctl is-failed more.service")
    after = machine.succeed("systemctl show --property=MainPID --value task-server-prefork").strip()
    assert before != after, "the worker was not restarted"

with subtest("a mistake is told, and the worker stays down"):
    machine.fail("/run/booted-system/specialisation/broken/bin/switch-to-configuration test >&2")
    machine.wait_until_succeeds("systemctl is-failed task-server-prefork.service", timeout=60)
    machine.succeed("journalctl --unit=task-server-prefork | grep concurency >&2")
    status = machine.succeed("systemctl show --property=ExecMainStatus --value task-server-prefork")
    assert status.strip() == "78", status
    machine.succeed("/run/booted-system/bin/switch-to-configuration test >&2")
    machine.wait_for_unit("task-server-prefork.service")

with subtest("a stop is warm"):
    machine.succeed("systemctl stop task-server.target")
    for name in ("prefork", "gevent"):
        # Nothing is waited for: the stop returns when the workers have drained.
        state = machine.succeed(f"systemctl show --property=ActiveState --value task-server-{name}")
        assert state.strip() == "inactive", state
        result = machine.succeed(f"systemctl show --property=Result --value task-server-{name}")
        assert result.strip() == "success", result
