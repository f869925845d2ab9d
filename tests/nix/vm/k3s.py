# ruff: noqa: F821 - the names are the test driver's
"""The manifests are applied to k3s: a document is read, and a rollout under load loses nothing."""

WORKERS = ("prefork", "gevent")
KUBECTL = "k3s kubectl --namespace task-server"
JOBS = 3000


def rolled_out() -> None:
    """Wait until the pods of both workers are those of the last change, and ready."""
    for name in WORKERS:
        machine.succeed(
            f"{KUBECTL} rollout status deployment/task-server-{name} --timeout=600s >&2"
        )


def pods() -> set[str]:
    """Return the names of all pods of workers."""
    listed = machine.succeed(
        f"{KUBECTL} get pods --output name"
        " --selector 'app.kubernetes.io/component in (prefork, gevent)'"
    )
    return set(listed.split())


for unit in ("k3s", "redis", "postgresql", "samples"):
    machine.wait_for_unit(f"{unit}.service")
for port in (5432, 6379, 8000):
    machine.wait_for_open_port(port)
machine.wait_until_succeeds(
    f"{KUBECTL} get secret docket"
    f" && {KUBECTL} get persistentvolumeclaim media --output jsonpath={{.status.phase}}"
    " | grep Bound",
    timeout=300,
)
document = machine.succeed("ls /run/samples | head --lines=1").strip()
url = f"http://{ADDRESS}:8000/{document}"

with subtest("what Nix has written is applied, and what it has built runs"):
    warnings = machine.succeed(f"{KUBECTL} apply --kustomize /etc/task-server/manifests/ 2>&1")
    assert "Warning" not in warnings, warnings
    rolled_out()

with subtest("applied again, it changes nothing"):
    again = machine.succeed(f"{KUBECTL} apply --kustomize /etc/task-server/manifests/")
    assert all(line.endswith(" unchanged") for line in again.splitlines()), again

with subtest("a document goes through the pods of both workers"):
    machine.succeed(f"docket-here ingest --wait {url} >&2", timeout=120)

with subtest("a rollout under load loses nothing, and runs nothing twice"):
    before = pods()
    machine.succeed(
        "systemd-run --unit=load --remain-after-exit --property=StandardOutput=file:/tmp/load"
        f" $(type -p docket-here) ingest --wait --repeat {JOBS} {url}"
    )
    machine.wait_until_succeeds("grep jobs /tmp/load")
    machine.succeed(f"{KUBECTL} rollout restart deployment >&2")
    assert machine.succeed("systemctl show --property=SubState --value load") == "running\n"
    rolled_out()
    machine.wait_until_succeeds(
        "systemctl show --property=SubState --value load | grep --invert-match running",
        timeout=600,
    )
    report = machine.succeed("cat /tmp/load")
    assert f"{JOBS} of {JOBS:,} jobs ended" in report, report
    assert " 0 extra;" in report, report

with subtest("the pods of before are gone"):
    machine.wait_until_succeeds(
        f"{KUBECTL} wait --for=delete --timeout=120s {' '.join(sorted(before))}"
    )
    assert not before & pods()
