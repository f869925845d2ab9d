"""`task-server up`: servers, migrations, workers and Flower in one terminal."""

import json
import signal
import urllib.request

import pytest

from tests.support.program import Output, Program


@pytest.fixture
def program(program: Program) -> Program:
    """Return the program in an environment that names the reference project."""
    program.environ = {**program.environ, "TASK_SERVER_APP": "docket"}
    return program


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


def test_a_second_up_says_that_the_first_is_up(program: Program) -> None:
    """
    Two in one state folder would fight; the second says where the first is, and ends.
    """
    first = Output(program.start("up", "--flower-port", "0"))
    flower = first.until("Flower is at ").split("Flower is at ")[1].split()[0]

    second = program("up", "--flower-port", "0")

    assert 1 == second.returncode
    assert "is already running" in second.stderr
    assert flower in second.stderr


def test_a_demo_beside_it_uses_its_workers(program: Program) -> None:
    """
    A demo finds the servers and workers that are up, and leaves them up.
    """
    process = program.start("up", "--flower-port", "0")
    Output(process).until("Flower is at ")

    ended = program("demo", "--json")

    assert 0 == ended.returncode, ended.stderr
    assert f"pid {process.pid}" in ended.stderr
    assert 4 == ended.result["read_tasks"]
    assert process.poll() is None


def test_kill_9_leaves_no_orphan(program: Program) -> None:
    """
    When the supervisor is killed, the kernel ends all its children.
    """
    process = program.start("up", "--flower-port", "0")
    Output(process).until("Flower is at ")

    process.kill()
    process.wait(timeout=30)

    assert {} == program.left()


def test_a_port_in_use_is_named(program: Program) -> None:
    """
    Flower's port is checked, and the line says how to choose another.
    """
    first = Output(program.start("up", "--flower-port", "0"))
    url = first.until("Flower is at ").split("Flower is at ")[1].split()[0]
    port = url.rstrip("/").rpartition(":")[2]

    second = program("up", "--state", "other", "--flower-port", port)

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
