"""The Swarm stack on a swarm of one node."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acceptance.docker.conftest import Broker, Runs
from tests.acceptance.docker.engine import Container, docker
from tests.acceptance.docker.swarm import Stack, deploy, deployed
from tests.support.wait import until


@pytest.mark.parametrize(
    "variable", ["CL_CODE_DIR", "CELERY_PREFORK_CONCURRENCY", "CELERY_GEVENT_CONCURRENCY"]
)
def test_a_variable_that_must_be_set_is_named(
    variable: str, variables: Mapping[str, str], network: str
) -> None:
    """
    Nothing is deployed, and the message says what to set.
    """
    done = deploy("cl", {**variables, variable: ""})

    assert done.returncode != 0
    assert f"{variable} is missing a value: set it to" in done.stdout
    assert not docker("stack", "ls", "--format", "{{.Name}}")


def test_a_code_folder_that_is_not_there_is_named(
    variables: Mapping[str, str], secret: None, broker: Broker
) -> None:
    """
    The swarm refuses the task, says which folder, and tries again without spinning.
    """
    with deployed("cl", {**variables, "CL_CODE_DIR": "/no/such/folder"}) as stack:
        named = until(
            lambda: "bind source path does not exist: /no/such/folder" in stack.tasks("prefork"),
            "the folder to be named",
        )
        assert named


def test_a_killed_worker_loses_nothing(
    variables: Mapping[str, str], secret: None, broker: Broker, runs: Runs, tmp_path: Path
) -> None:
    """
    `docker kill` in the middle of 600 jobs: all are done, within the visibility timeout.
    """
    settings = tmp_path / "environment"
    settings.write_text("TASK_SERVER_VISIBILITY_TIMEOUT=10\n")
    with deployed("cl", {**variables, "TASK_SERVER_ENV_FILE": str(settings)}) as stack:
        victims = [*stack.ready("prefork"), *stack.ready("gevent")]
        for number in range(600):
            broker.send("run", number, 0.02, queue=("celery", "io_bound")[number % 2])
        until(lambda: len(runs.count("ended")) >= 40, "some tasks to end")
        for victim in victims:
            docker("kill", victim.name)

        until(lambda: len(runs.count("ended")) == 600, "all tasks to end", 180)
        assert set(range(600)) == set(runs.count("ended"))


def test_the_stack_works_off_both_queues(
    stack: Stack, broker: Broker, runs: Runs, stack_media: Path
) -> None:
    """
    Redis is reached through the overlay network, PostgreSQL through its socket.
    """
    (prefork,) = stack.ready("prefork")
    (gevent,) = stack.ready("gevent")

    broker.result("run", 1)
    broker.result("run", 2, queue="io_bound")
    assert {1: 1, 2: 1} == runs.count("ended")
    assert {prefork.name: 1, gevent.name: 1} == runs.hosts()
    broker.result("write", "note.txt", "hello")
    assert "hello" == (stack_media / "note.txt").read_text()
    assert [] == stack.containers("bulk")
    node = docker("info", "--format", "{{.Name}}").strip()
    program = "import os; print(os.environ['TASK_SERVER_MACHINE'])"
    assert node == prefork.execute("/opt/task-server/bin/python", "-c", program).strip()
    locked(prefork)


def locked(container: Container) -> None:
    """Assert that all is taken away from *container* that can be."""
    status = container.execute(
        "/opt/task-server/bin/python",
        "-c",
        # PID 1 is the one that reaps; its child is the worker.
        "import pathlib; children = pathlib.Path('/proc/1/task/1/children').read_text().split();"
        "print(pathlib.Path(f'/proc/{children[0]}/status').read_text())",
    )
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert "1" == fields["NoNewPrivs"]
    assert {"0000000000000000"} == {fields[name] for name in ("CapEff", "CapPrm", "CapBnd")}
    assert {"33"} == set(fields["Uid"].split())
    mounts = {
        line.split()[1]: line.split()[3]
        for line in container.execute("cat", "/proc/mounts").splitlines()
    }
    assert all(mounts[folder].startswith("ro") for folder in ("/", "/opt/celery"))
    assert all(mounts[folder].startswith("rw") for folder in ("/sata", "/tmp"))


def test_an_update_under_load_loses_nothing(stack: Stack, broker: Broker, runs: Runs) -> None:
    """
    `docker service update --force`: each task runs once, whichever worker has it.
    """
    (old,) = stack.ready("prefork")
    (other,) = stack.ready("gevent")
    for number in range(300):
        broker.send("run", number, 0.2, queue=("celery", "io_bound")[number % 2])
    until(lambda: len(runs.count("began")) >= 4, "tasks to begin")
    for service in ("prefork", "gevent"):
        docker("service", "update", "--force", "--detach", f"cl_{service}")
    for number in range(300, 400):
        broker.send("run", number, 0.2, queue=("celery", "io_bound")[number % 2])

    until(lambda: len(runs.count("ended")) == 400, "all tasks to end", 240)
    until(lambda: old.name not in {one.name for one in stack.containers("prefork")}, "the update")
    until(lambda: other.name not in {one.name for one in stack.containers("gevent")}, "the update")
    assert {1} == set(runs.count("began").values())
    assert {1} == set(runs.count("ended").values())
    assert (0, 0) == (broker.waiting(), broker.unacked())
