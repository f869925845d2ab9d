"""`task-server up`: servers, migrations, workers and Flower in one terminal."""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.program import Output, Program, program_in
from tests.support.wait import until


@pytest.fixture
def program(program: Program) -> Program:
    """Return the program in an environment that names the reference project."""
    program.environ = {**program.environ, "TASK_SERVER_APP": "docket"}
    return program


@dataclass(frozen=True)
class Up:
    """An `up` that runs: the program of its folder, its process and the address of its Flower."""

    program: Program
    process: subprocess.Popen[str]
    flower: str


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Return an `up` for the tests that leave it as it is."""
    with program_in(tmp_path_factory.mktemp("up")) as program:
        program.environ = {**program.environ, "TASK_SERVER_APP": "docket"}
        process = program.start("up", "--flower-port", "0")
        line = Output(process).until("Flower is at ")
        yield Up(program, process, line.split("Flower is at ")[1].split()[0])


def test_up_is_ready_in_order_and_stops_workers_before_servers(program: Program) -> None:
    """
    Servers, migrations, workers, Flower; Ctrl-C stops in the opposite order and leaves nothing.
    """
    process = program.start("up", "--flower-port", "0")
    output = Output(process)

    line = output.until("Flower is at ")
    url = line.split("Flower is at ")[1].split()[0]
    with urllib.request.urlopen(f"{url}workers?json=1", timeout=30) as answer:
        assert isinstance(json.load(answer), dict)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=90)

    text = "\n".join(output.rest())
    moments = [
        "ready to accept connections",
        "Applying docket.0001_initial",
        "prefork@",
        "Up: prefork, gevent",
    ]
    assert sorted(text.index(moment) for moment in moments) == [text.index(m) for m in moments]
    assert text.rindex("prefork    | ") < text.rindex("database system is shut down")
    assert (0, {}) == (process.returncode, program.alive())


def test_a_second_up_of_another_project_says_that_the_first_is_up(up: Up) -> None:
    """
    Two in one state folder would fight; the second says which project is up, and ends.
    """
    (up.program.folder / "other.py").write_text("import celery\n\napp = celery.Celery('other')\n")

    second = up.program("up", "--app", "other")

    assert 1 == second.returncode
    assert "project docket) is already running" in second.stderr


# Two more of everything; how a port is chosen is shown below, too.
@pytest.mark.slow
def test_flower_takes_the_next_port_where_its_own_is_in_use(up: Up) -> None:
    """
    Two projects on one machine: the second has another state folder, and another port, and
    neither is named. Each is addressed in its banner and ended alone.
    """
    with program_in(up.program.folder) as other:
        other.environ = {**up.program.environ, "TASK_SERVER_STATE": "beside"}
        # It is free here: each takes the first that is, so one of the two has another one.
        first, second = other.start("up"), up.program.start("up", "--state", "third")
        outputs = [Output(one) for one in (first, second)]
        lines = [output.until("Flower is at ") for output in outputs]
        urls = [line.split("Flower is at ")[1].split()[0] for line in lines]

        assert 2 == len(set(urls))
        for output, url in zip(outputs, urls, strict=True):
            said = "Flower: port 5555 is in use; it takes " in "\n".join(output.seen)
            assert said == (":5555/" not in url)
        for url in urls:
            with urllib.request.urlopen(f"{url}healthcheck", timeout=60) as answer:
                assert 200 == answer.status
        ended = [
            (other("down").returncode, first.wait(timeout=90)),
            (up.program("down", "--state", "third").returncode, second.wait(timeout=90)),
        ]
        assert [(0, 0), (0, 0)] == ended
        assert up.process.poll() is None


def test_the_metrics_are_up_too(up: Up) -> None:
    """
    At their own port, where Prometheus finds the queues, and a health check the metrics.
    """
    addresses = {
        one["name"]: one["address"] for one in json.loads(up.program("ps", "--json").stdout)
    }

    def shown() -> str:
        with urllib.request.urlopen(addresses["metrics"], timeout=60) as answer:
            return answer.read().decode()

    until(lambda: 'celery_active_worker_count{queue_name="io_bound"} 1.0' in shown())
    health = up.program("health", "metrics", "--ready")

    assert (0, True) == (health.returncode, "(of `task-server up`, pid " in health.stdout)


def test_a_demo_beside_it_uses_its_workers(up: Up) -> None:
    """
    A demo finds the servers and workers that are up, and leaves them up.
    """
    ended = up.program("demo", "--json")

    assert 0 == ended.returncode, ended.stderr
    assert f"pid {up.process.pid}" in ended.stderr
    assert 4 == ended.result["read_tasks"]
    assert up.process.poll() is None


@pytest.mark.slow
def test_kill_9_leaves_no_orphan(program: Program) -> None:
    """
    When the supervisor is killed, the kernel ends all its children.
    """
    process = program.start("up", "--flower-port", "0")
    Output(process).until("Flower is at ")

    process.kill()
    process.wait(timeout=30)

    assert {} == program.left()
    assert "[]" == program("ps", "--json").stdout.strip()
    assert "Nothing runs in .task-server." == program("down").stdout.strip()


def test_a_port_in_use_is_named(up: Up) -> None:
    """
    Flower's port is checked, and the line says how to choose another.
    """
    port = up.flower.rstrip("/").rpartition(":")[2]

    second = up.program("up", "--state", "other", "--flower-port", port)

    assert 1 == second.returncode
    assert f"127.0.0.1:{port}" in second.stderr
    assert "choose another" in second.stderr


def test_an_unknown_worker_and_an_unknown_project_are_named(program: Program) -> None:
    """
    What cannot be started is said in one line each, with the exit code of its kind.
    """
    worker = program("up", "--worker", "mail")
    project = program("up", "--app", "absent_project")

    assert 2 == worker.returncode
    assert "unknown worker 'mail'; choose prefork, gevent or all" in worker.stderr
    assert 78 == project.returncode
    assert "app: there is no module 'absent_project'" in project.stderr
