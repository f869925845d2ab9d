# ruff: noqa: F821 - the names are the test driver's
"""Tasks on both queues, health, Flower, and what the units may do."""

for name in ("prefork", "gevent", "flower"):
    machine.wait_for_unit(f"task-server-{name}.service")

with subtest("a document goes through both queues"):
    machine.succeed("docket-here ingest --sample >&2")

with subtest("the workers are alive and ready"):
    for name in ("prefork", "gevent"):
        machine.succeed(f"task-server health {name} --ready >&2")

with subtest("Flower answers on this machine alone"):
    machine.wait_until_succeeds("curl --fail http://127.0.0.1:5555/healthcheck", timeout=60)
    machine.fail("ss --listening --tcp --numeric | grep 5555 | grep --invert-match 127.0.0.1")

with subtest("the units are hardened"):
    for name in ("prefork", "gevent", "flower"):
        machine.succeed(f"systemd-analyze security --threshold=15 task-server-{name}.service >&2")
