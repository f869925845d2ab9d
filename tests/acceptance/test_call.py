"""`task-server call`: what is sent, what is waited for, and what is refused."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from celery import Celery

from task_server.errors import LocalServerError
from tests.support.program import Ended, Output, Program, program_in
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import PROJECT, Worker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, require) -> Iterator[Redis]:
    """Have a Redis for the tests of this file."""
    folder = tmp_path_factory.mktemp("redis")
    try:
        one = Redis(folder).start()
    except LocalServerError as error:
        require("redis", str(error))
    yield one
    one.stop()


@pytest.fixture(scope="module")
def calling(server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Have a worker of the project `calling`, and the program beside its configuration."""
    folder = tmp_path_factory.mktemp("calling")
    variables = {"CALLING_RESULTS": server.database(1).url}
    # Under gevent `time.sleep` is a wait that many share.
    with (
        Worker(
            folder, server, "gevent", app="calling", concurrency=20, environ=variables
        ) as worker,
        program_in(folder) as program,
    ):
        worker.ready()
        yield replace(program, environ={**program.environ, **variables})


@pytest.fixture
def alone(tmp_path: Path, server: Redis) -> Iterator[Program]:
    """Have the program without a worker, and without results, on a database of its own."""
    folder = tmp_path / "alone"
    folder.mkdir()
    with program_in(folder) as program:
        environ = {
            **program.environ,
            "CALLING_BROKER": server.database(2).url,
            "TASK_SERVER_APP": "calling",
            "TASK_SERVER_CODE": str(PROJECT),
            # Nobody is there to answer.
            "TASK_SERVER_CALL_ASK": "0.2",
        }
        yield replace(program, environ=environ)
    server.database(2).client.flushdb()


def results(ended: Ended) -> object:
    """Return the result that was printed."""
    assert 0 == ended.returncode, ended.stderr
    return json.loads(ended.stdout)


def test_arguments_are_json_where_they_parse(calling: Program) -> None:
    """
    Everything else is text; names are keyword arguments, and what follows -- is no option.
    """
    words = [
        "7",
        "-0.5",
        "true",
        "null",
        '"7"',
        "[1, 2]",
        '{"a": 1}',
        "text",
        "a b",
        "https://h/?q=1",
    ]
    named = ["n=3", "word=x=y", "empty=", "NaN", "é"]

    ended = calling(
        "call", "calling.echo", "--wait", "--kwargs", '{"m": [1]}', "--", *words, *named
    )

    args = [7, -0.5, True, None, "7", [1, 2], {"a": 1}, "text", "a b", "https://h/?q=1", "NaN", "é"]
    assert [args, {"m": [1], "n": 3, "word": "x=y", "empty": ""}] == results(ended)
    assert " -> celery" in ended.stderr


def test_a_failure_is_its_traceback_and_exit_code_1(calling: Program) -> None:
    """
    With --json it is in the object, beside id, task and queue.
    """
    plain = calling("call", "calling.fail", "--wait")
    ended = calling("call", "calling.fail", "--wait", "--json")

    assert (1, "") == (plain.returncode, plain.stdout)
    assert "ValueError: broken" in plain.stderr
    found = json.loads(ended.stdout)
    assert 1 == ended.returncode
    assert ("calling.fail", "celery", "FAILURE") == (found["task"], found["queue"], found["state"])
    assert "ValueError: broken" in found["traceback"]


def test_a_task_that_ignores_its_result_has_one_when_it_is_waited_for(calling: Program) -> None:
    """
    This one call stores it.
    """
    assert "said\n" == calling("call", "calling.quiet", "--timeout", "100").stdout


def test_options_are_those_of_the_message(calling: Program) -> None:
    """
    Queue, priority, ETA and expiry reach the task.
    """
    ended = calling(
        *("call", "calling.where", "--wait", "--priority", "6", "--countdown", "0.1"),
        *("--expires", "2099-01-01T00:00"),
    )

    found = results(ended)
    assert isinstance(found, dict)
    assert ("celery", 6) == (found["queue"], found["priority"])
    assert found["expires"].startswith("2099-01-01T00:00:00")
    assert found["eta"]


def test_a_timeout_has_a_code_of_its_own(calling: Program) -> None:
    """
    The task goes on, and its id is said; so it is after Ctrl-C.
    """
    ended = calling("call", "calling.slow", "--timeout", "0.5")
    assert 124 == ended.returncode
    assert "goes on" in ended.stderr
    assert "Traceback" not in ended.stderr

    process = calling.start("call", "calling.slow", "--wait")
    output = Output(process, process.stderr)
    output.until(" -> celery")
    process.send_signal(signal.SIGINT)
    assert "goes on" in output.until("not waited for any longer")
    assert 130 == process.wait()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_revoked_task_is_said(calling: Program, server: Redis) -> None:
    """
    Its exit code is 1.
    """
    process = calling.start("call", "calling.add", "1", "--countdown", "3600", "--wait", "--json")
    delayed = until(lambda: server.client.zrange("unacked.delayed:celery", 0, -1))
    app = Celery(broker=server.url, backend=server.database(1).url, set_as_current=False)
    for text in delayed:
        one = json.loads(text.partition(b" ")[2])["headers"]["id"]
        app.backend.store_result(one, None, "REVOKED")
    stdout, _ = process.communicate(timeout=120)

    assert 1 == process.returncode
    assert "REVOKED" == json.loads(stdout)["state"]


def test_what_no_worker_has_is_refused_with_the_near_names(alone: Program, server: Redis) -> None:
    """
    Nothing is sent, unless forced.
    """
    client = server.database(2).client
    for name, near in (
        ("calling.ad", "calling.add"),
        ("add", "calling.add"),
        ("echo", "calling.echo"),
    ):
        ended = alone("call", name, "1")
        assert 1 == ended.returncode
        assert f"did you mean {near}" in ended.stderr
    nothing = alone("call", "zzz.unlike")
    assert "it has 8 tasks" in nothing.stderr
    assert "no worker answered within 0.2 s" in nothing.stderr
    far = alone("call", "calling.far")
    assert (1, True) == (far.returncode, "no worker of the configuration takes from" in far.stderr)
    named = alone("call", "calling.add", "1", "--queue", "nowhere")
    assert (1, True) == (named.returncode, "'nowhere'" in named.stderr)
    assert [] == [key for key in client.scan_iter() if not key.startswith(b"_kombu")]

    assert 0 == alone("call", "zzz.unlike", "--force").returncode
    assert 0 == alone("call", "calling.far", "--force").returncode
    assert 0 == alone("call", "calling.far", TASK_SERVER_WORKERS_FAR_QUEUES="far").returncode
    assert (1, 2) == (client.llen("celery"), client.llen("far"))


STOCK = """
import os

from celery import Celery

app = Celery("stock", broker=os.environ["BROKER"], backend=os.environ["RESULTS"])


@app.task(name="stock.double", rate_limit="100/s")
def double(n):
    return 2 * n
"""


@pytest.fixture
def stock(calling: Program, server: Redis, tmp_path: Path) -> Iterator[None]:
    """Have a worker of Celery's, with a task and a queue that the project does not know."""
    (tmp_path / "stock.py").write_text(STOCK)
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "--app=stock", "worker", "--pool=solo"),
                *("--queues=theirs", "--hostname=stock@here", "--loglevel=INFO"),
            ],
            cwd=tmp_path,
            env={**os.environ, "BROKER": server.url, "RESULTS": server.database(1).url},
            stdout=file,
            stderr=file,
        )
    try:
        until(lambda: b" ready." in log.read_bytes() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.kill()
        process.wait()


def test_what_only_a_stock_worker_has_is_sent(calling: Program, stock: None) -> None:
    """
    It is asked for the task, and for the queue; its tasks are near names, too.
    """
    # It answers sooner, but for on a busy machine.
    asking = ("--ask", "100", "--queue", "theirs")
    ended = calling("call", "stock.double", "21", "--wait", *asking)

    assert 42 == results(ended)
    assert "the project does not register stock.double; stock@here does" in ended.stderr
    far = calling("call", "calling.far", *asking)
    assert (0, True) == (far.returncode, far.stdout.strip().endswith(" -> theirs"))
    # A worker that is busy may be late with its answer.
    until(lambda: "did you mean stock.double?" in calling("call", "stock.doubl", "1").stderr)
    nowhere = calling("call", "calling.add", "1", "--queue", "nowhere")
    assert (1, True) == (nowhere.returncode, "'nowhere'" in nowhere.stderr)
    unasked = calling("call", "stock.double", "1", "--ask", "0")
    assert (1, True) == (unasked.returncode, "does not register it; it has" in unasked.stderr)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("calling.add",), 2, "missing 1 required positional argument"),
        (("calling.add", "1", "a=2"), 2, "multiple values"),
        (("calling.echo", "a=1", "a=2"), 2, "a is given twice"),
        (("calling.add", "1", "--kwargs", "[1]"), 2, "is no JSON object"),
        (("calling.add", "1", "--eta", "soon"), 2, "is no time"),
        (("calling.add", "1", "--expires", "-5"), 2, "is not above 0"),
        (
            ("calling.add", "1", "--eta", "2099-01-01", "--countdown", "1"),
            2,
            "--countdown or --eta",
        ),
        (("calling.add", "1", "--wait"), 78, "the project stores no results"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    alone: Program, server: Redis, words: tuple[str, ...], code: int, said: str
) -> None:
    """
    One error, and no traceback.
    """
    ended = alone("call", *words)

    assert (code, True) == (ended.returncode, said in ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr
    assert 0 == server.database(2).client.llen("celery")


def test_a_broker_that_is_away_is_one_line(alone: Program) -> None:
    """
    Exit 69: it may be there later.
    """
    ended = alone("call", "calling.add", "1", CALLING_BROKER="redis://:hunter2@127.0.0.1:1/0")

    assert 69 == ended.returncode
    assert "the task was not sent" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr

    other = alone("call", "calling.ad", "1", CALLING_BROKER="redis://:hunter2@127.0.0.1:1/0")
    assert 1 == other.returncode
    assert "no worker could be asked" in other.stderr
    assert "did you mean calling.add" in other.stderr
    assert "hunter2" not in other.stderr


def test_pickle_is_the_projects_own_choice(server: Redis, tmp_path: Path) -> None:
    """
    What no JSON can say is shown as Python shows it.
    """
    database = server.database(3)
    variables = {
        "CALLING_RESULTS": database.url,
        "CALLING_SERIALIZER": "pickle",
        "C_FORCE_ROOT": "1",
    }
    with (
        Worker(tmp_path, database, "prefork", app="calling", environ=variables) as worker,
        program_in(tmp_path) as program,
    ):
        worker.ready()
        ended = program("call", "calling.odd", "--wait", **variables)

        assert "{1, 2}\n" == ended.stdout, ended.stderr


def test_a_spinner_turns_on_a_terminal(calling: Program) -> None:
    """
    Only there, on standard error; the result alone goes to standard output.
    """
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "task_server",
            "call",
            "calling.add",
            "1",
            "--countdown",
            "1",
            "--wait",
        ],
        cwd=calling.folder,
        env={**calling.environ, "TERM": "xterm"},
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    while b"waiting for calling.add" not in shown:
        shown += os.read(master, 4096)
    stdout, _ = process.communicate(timeout=120)
    os.close(master)

    assert (0, b"2\n") == (process.returncode, stdout)
