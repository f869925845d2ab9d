# ruff: noqa: F821 - the names are the test driver's
"""Three machines: the secret reaches the workers, and both queues are served."""

server.start()
server.wait_for_open_port(5432)
server.wait_for_open_port(6379)
server.wait_for_open_port(2049)
start_all()

cpu.wait_for_unit("task-server-prefork.service")
net.wait_for_unit("task-server-gevent.service")

with subtest("each machine has its own worker, and no broker"):
    cpu.fail("systemctl cat task-server-gevent.service redis-task-server.service")
    net.fail("systemctl cat task-server-prefork.service task-server-migrate.service")

with subtest("the password is in no unit and in no command line"):
    for machine, name in ((cpu, "prefork"), (net, "gevent")):
        machine.fail(f"systemctl cat task-server-{name}.service | grep not-a-secret")
        machine.fail("ps -e -o args | grep '[n]ot-a-secret'")

with subtest("a document goes through the workers of both machines"):
    server.succeed("make-samples /tmp/samples")
    server.succeed("systemd-run --working-directory=/tmp/samples python3 -m http.server 8000")
    server.wait_for_open_port(8000)
    name = server.succeed("ls /tmp/samples | head --lines=1").strip()
    cpu.succeed(f"docket-here ingest --wait http://server:8000/{name} >&2", timeout=120)
    cpu.succeed("journalctl --unit=task-server-prefork | grep docket.tasks.read >&2")
    net.succeed("journalctl --unit=task-server-gevent | grep docket.tasks.fetch >&2")

with subtest("the broker goes and comes back; the workers are not restarted"):
    pids = [
        machine.succeed(f"systemctl show --property=MainPID --value task-server-{name}")
        for machine, name in ((cpu, "prefork"), (net, "gevent"))
    ]
    server.succeed("systemctl stop redis.service")
    cpu.wait_until_fails("task-server health prefork --ready", timeout=120)
    cpu.succeed("task-server health prefork")
    server.succeed("systemctl start redis.service")
    cpu.wait_until_succeeds("task-server health prefork --ready", timeout=120)
    net.wait_until_succeeds("task-server health gevent --ready", timeout=120)
    again = [
        machine.succeed(f"systemctl show --property=MainPID --value task-server-{name}")
        for machine, name in ((cpu, "prefork"), (net, "gevent"))
    ]
    assert pids == again, "a worker was restarted for want of a broker"
