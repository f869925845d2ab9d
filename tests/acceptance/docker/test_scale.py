"""Fifty workers of concurrency 1, beside fifty that are started as the old stack did."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.docker.conftest import Broker, Runs
from tests.acceptance.docker.engine import NETWORK, docker
from tests.acceptance.docker.swarm import deployed
from tests.support import proc
from tests.support.wait import until

WORKERS = int(os.environ.get("SCALE_WORKERS", "50"))

JOBS = 5_000

#: The command of the old stack for its prefork workers.
OLD = (
    *("--app=cl", "worker", "--events", "--loglevel=info", "--pool=prefork"),
    *("--hostname=prefork@%h", "--queues=celery", "--concurrency=1", "--prefetch-multiplier=1"),
)


@dataclass(frozen=True)
class Figures:
    """What one way to run the workers costs."""

    ready: float
    processor: float
    memory: float
    connections: float
    jobs: float


@contextmanager
def ours(variables: Mapping[str, str]) -> Iterator[str]:
    """Have the stack with no worker; `docker service scale` is what starts them."""
    with deployed(
        "cl",
        {**variables, "CELERY_PREFORK_REPLICAS": "0", "CELERY_GEVENT_REPLICAS": "0"},
    ) as stack:
        # Flower asks workers for what the other fifty are not asked.
        docker("service", "scale", "--detach", "cl_flower=0")
        until(lambda: not stack.containers("flower"), "Flower to end")
        yield "cl_prefork"


@contextmanager
def old(variables: Mapping[str, str]) -> Iterator[str]:
    """Have a service of Celery's own command in the same image, with the same limits."""
    name = "old_prefork"
    mounts = (
        f"type=bind,source={variables['CL_CODE_DIR']},target=/opt/celery,readonly",
        f"type=bind,source={variables['DJANGO_MEDIA_ROOT']},target=/sata",
        f"type=bind,source={variables['POSTGRESQL_SOCK']},target=/var/run/postgresql",
        "type=tmpfs,target=/tmp",
    )
    docker(
        *("service", "create", "--detach", "--name", name, "--replicas", "0"),
        *("--network", NETWORK, "--endpoint-mode", "dnsrr", "--no-healthcheck"),
        *("--limit-cpu", "1", "--limit-memory", "1G", "--read-only", "--user", "33:33"),
        *("--hostname", "{{.Task.Name}}", "--stop-grace-period", "60s"),
        *(word for mount in mounts for word in ("--mount", mount)),
        *("--entrypoint", "/usr/bin/catatonit -- /opt/task-server/bin/celery"),
        *(variables["TASK_SERVER_PREFORK_IMAGE"], *OLD),
    )
    try:
        yield name
    finally:
        docker("service", "rm", name)
        label = f"label=com.docker.swarm.service.name={name}"
        until(lambda: not docker("ps", "--quiet", "--filter", label), "the workers to end", 180)


def measured(service: str, broker: Broker, runs: Runs) -> Figures:
    """Scale *service* up, give it the jobs, and return what that took."""
    broker.client.flushall()
    runs.clear()
    began = time.monotonic()
    docker("service", "scale", "--detach", f"{service}={WORKERS}")
    until(lambda: runs.ready() >= WORKERS, f"{WORKERS} workers to be ready", 600)
    ready = time.monotonic() - began
    processes = workers_of(service)
    processor = sum(processor_seconds(pid) for pid in processes) / WORKERS
    began = time.monotonic()
    for number in range(JOBS):
        broker.send("run", number)
    until(lambda: len(runs.count("ended")) == JOBS, "all jobs to be done", 600)
    jobs = time.monotonic() - began
    assert {1} == set(runs.count("ended").values())
    assert WORKERS == len(runs.hosts())
    processes = workers_of(service)
    memory = sum(proportional_set_size(pid) for pid in processes) / WORKERS
    connections = len(broker.client.client_list()) - 1
    return Figures(ready, processor, memory, connections / WORKERS, jobs)


def workers_of(service: str) -> list[int]:
    """Return the pids of all workers of *service* and of their children."""
    label = f"label=com.docker.swarm.service.name={service}"
    names = docker("ps", "--filter", label, "--format", "{{.Names}}").split()
    first = docker("inspect", "--format", "{{.State.Pid}}", *names).split()
    return [pid for one in first for pid in (int(one), *descendants(int(one)))]


def descendants(pid: int) -> list[int]:
    """
    Return the pids of the children of *pid*, and of theirs.

    A health check runs in the container as well, but is no child of its first
    process; it comes and goes.
    """
    return [found for child in proc.children(pid) for found in (child, *descendants(child))]


def processor_seconds(pid: int) -> float:
    """Return the seconds of processor that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def proportional_set_size(pid: int) -> float:
    """Return the MiB of the process, where what many share counts in parts."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


@pytest.mark.nightly
def test_fifty_workers_come_up_and_share_the_jobs(
    variables: Mapping[str, str],
    secret: None,
    broker: Broker,
    runs: Runs,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    They hold less memory and fewer connections than with Celery's command.

    Seconds are printed and not judged: a machine that is busy would decide.
    """
    with old(variables) as service:
        before = measured(service, broker, runs)
    with ours(variables) as service:
        now = measured(service, broker, runs)

    rows = {
        "seconds until all are ready": "ready",
        "processor seconds of a start": "processor",
        "MiB of a worker": "memory",
        "connections to Redis of a worker": "connections",
        f"seconds for {JOBS} jobs": "jobs",
    }
    with capsys.disabled():
        print(f"\n{WORKERS} workers of concurrency 1{'celery':>24}{'task-server':>14}")
        for title, name in rows.items():
            print(f"  {title:<36}{getattr(before, name):>10.1f}{getattr(now, name):>14.1f}")
    assert now.memory < before.memory
    assert now.connections < before.connections
