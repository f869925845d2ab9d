"""How a whole ends: by Ctrl-C, by a death, by kill -9; and who may run one."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
import redis as redis_client

from task_server.errors import LocalServerError
from task_server.local import State, Supervisor
from task_server.local.servers import binaries, postgres
from tests.support.folders import open_to_others

pytestmark = [
    pytest.mark.usefixtures("servers"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and PR_SET_PDEATHSIG"),
]

TASKS = """
import os, time
from celery import Celery

app = Celery("sleepy", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])

@app.task
def sleep(seconds):
    print("sleeping", flush=True)
    time.sleep(seconds)
"""


@pytest.fixture
def workers(tmp_path: Path) -> list[dict[str, object]]:
    """Describe a plain Celery worker of each pool, and one who gives both a long task."""
    (tmp_path / "sleepy.py").write_text(TASKS)

    def worker(pool: str, ready: str, queue: str) -> dict[str, object]:
        command = [sys.executable, "-m", "celery", "--app", "sleepy", "worker", "--pool", pool]
        options = ["--concurrency", "2", "--queues", queue, "-n", f"{pool}@%h"]
        quiet = ["--without-mingle", "--without-gossip", "--loglevel", "info"]
        argv = [*command, *options, *quiet]
        return {"name": pool, "argv": argv, "cwd": str(tmp_path), "ready": ready}

    give = "from sleepy import sleep; [sleep.apply_async([60], queue=q) for q in 'abab']"
    giver = [sys.executable, "-c", give]
    # The workers are ready, for this test, when each has its task.
    return [
        {"name": "giver", "argv": giver, "cwd": str(tmp_path), "oneshot": True},
        worker("prefork", "sleeping", "a"),
        worker("gevent", "sleeping", "b"),
    ]


def test_a_killed_supervisor_leaves_no_process(
    tmp_path: Path, run, workers, family, survivors
) -> None:
    """
    After kill -9 of the supervisor both servers and both busy workers, with
    all their children, are gone within half a minute.
    """
    running = run(tmp_path / "state", workers)
    handles = family(running.process.pid)
    expected = {running.process.pid, *running.report["pids"].values()}
    expected.discard(running.report["pids"]["giver"])

    assert expected < set(handles)
    running.process.kill()

    assert set() == survivors(handles, 30)


def test_after_a_kill_the_next_start_has_the_data(tmp_path: Path, run) -> None:
    """
    A start right after kill -9 finds what was written, and starts servers of its own.
    """
    first = run(tmp_path / "state")
    with redis_client.Redis.from_url(first.environ["REDIS_CLIENT_URL"]) as client:
        client.set("kept", "1")
    connection = psycopg2.connect(first.environ["DATABASE_URL"])
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 1")
    connection.close()
    first.process.kill()
    first.process.wait()
    second = run(tmp_path / "state")
    with redis_client.Redis.from_url(second.environ["REDIS_CLIENT_URL"]) as client:
        kept = client.get("kept")
    connection = psycopg2.connect(second.environ["DATABASE_URL"])
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM kept")
        rows = cursor.fetchall()
    connection.close()

    assert b"1" == kept
    assert [(1,)] == rows
    assert {"redis", "postgres"} == set(second.report["pids"])


def test_ctrl_c_stops_workers_before_servers(
    tmp_path: Path, run, workers, family, survivors
) -> None:
    """
    SIGINT ends the workers first, then the servers cleanly, and leaves no process.
    """
    for worker in workers:
        # A task of a minute is not waited for.
        worker.update(stop_signal=signal.SIGQUIT, stop_seconds=2)
    running = run(tmp_path / "state", workers)
    handles = family(running.process.pid)
    running.process.send_signal(signal.SIGINT)
    lines = running.rest()
    worker_lines = [n for n, line in enumerate(lines) if line.startswith(("prefork", "gevent"))]
    server_lines = [n for n, line in enumerate(lines) if line.startswith(("redis", "postgres"))]

    assert 0 == running.process.returncode
    assert "ENDED" == lines[-1]
    assert max(worker_lines) < min(server_lines)
    assert any("database system is shut down" in line for line in lines)
    assert any("ready to exit, bye bye" in line for line in lines)
    assert set() == survivors(handles, 30)


def test_a_dead_server_ends_the_whole(tmp_path: Path, run, family, survivors) -> None:
    """
    When Redis dies the whole ends, and the last words are its name and last lines.
    """
    running = run(tmp_path / "state")
    handles = family(running.process.pid)
    os.kill(running.report["pids"]["redis"], signal.SIGKILL)
    lines = running.rest()

    assert 1 == running.process.returncode
    assert any("redis exited unexpectedly (signal 9). Its last lines:" in line for line in lines)
    # Redis 7 names its socket last.
    assert "ready to accept connections" in lines[-1].lower()
    assert set() == survivors(handles, 30)


@pytest.fixture
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[str]]:
    """
    Return what makes a command run as another user, who can read this interpreter.

    The interpreter may lie in a folder that is closed to others; the one
    capability that opens it for reading gives no right that PostgreSQL,
    Redis or the writing of a file would notice.
    """
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user")

    def prefix(uid: int) -> list[str]:
        capability = "-all,+dac_read_search"
        return [
            *("setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"),
            *("--inh-caps", capability, "--ambient-caps", capability),
        ]

    return prefix


@contextmanager
def folder_of(uid: int) -> Iterator[Path]:
    """Make a folder of the user *uid*; pytest's own folders are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="task-server-test-"))
    os.chown(folder, uid, uid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("uid", [65534, 54321], ids=["with a name", "without a name"])
def test_an_ordinary_user_has_it_all(run, ordinary, uid: int) -> None:
    """
    A user that is not root, even one with no entry in passwd, starts and stops both servers.
    """
    program = binaries.postgres(os.environ)[0].path
    bare = ["setpriv", "--reuid", str(uid), "--clear-groups", "test", "-x", str(program)]
    if subprocess.run(bare, check=False).returncode:
        # In a user namespace the capability of `ordinary` counts for nothing.
        pytest.skip(f"{program} lies in a folder that is closed to others")
    with folder_of(uid) as folder:
        running = run(folder / "state", prefix=ordinary(uid), HOME=str(folder))
        owners = {path.stat().st_uid for path in (folder / "state").iterdir()}
        running.process.send_signal(signal.SIGTERM)
        lines = running.rest()

    assert uid == running.report["uid"]
    assert {uid} == owners
    assert "ENDED" == lines[-1]


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, ordinary) -> None:
    """
    The error for a state folder that may not be written has its path and the repair.
    """
    open_to_others(tmp_path)
    program = "import sys; from task_server.local import State; State.open(sys.argv[1])"
    command = [*ordinary(65534), sys.executable, "-c", program, str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert f"Cannot keep state in {tmp_path / 'state'}: this user may not write" in done.stderr


@contextmanager
def disk(path: Path, options: str) -> Iterator[Path]:
    """Mount a small disk at *path*."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a disk of a given size")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill(folder: Path) -> None:
    """Leave no byte free on the disk of *folder*."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        for size in (2**20, 2**12, 1):
            try:
                while filler.write(b"\0" * size):
                    pass
            except OSError:
                continue


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    """
    A state folder on a read-only disk gives its path, the cause and a way out.
    """
    with (
        disk(tmp_path / "disk", "ro") as folder,
        pytest.raises(LocalServerError, match="the disk is read-only; make it writable") as caught,
    ):
        State.open(folder / "state")

    assert str(folder / "state") in str(caught.value)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """
    A state folder on a full disk gives its path, the cause and a way out.
    """
    with disk(tmp_path / "disk", "size=1m") as folder:
        fill(folder)
        with pytest.raises(LocalServerError, match="the disk is full; free some space"):
            State.open(folder)


def test_a_disk_too_small_for_a_cluster_is_named(tmp_path: Path, supervisor) -> None:
    """
    Where a new cluster would not fit, initdb does not start.
    """
    with disk(tmp_path / "disk", "size=20m") as folder:
        server = postgres.find(State.open(folder), os.environ)
        with pytest.raises(LocalServerError, match=r"full \(\d+ MiB free, new data needs"):
            supervisor.start(server.child)
        left = [path.name for path in folder.iterdir() if path.name.startswith("postgres")]

    assert [] == left


def test_a_disk_that_filled_up_is_explained(tmp_path: Path, servers) -> None:
    """
    A server that does not start for want of space says so, with its own words.
    """
    with disk(tmp_path / "disk", "size=200m") as folder:
        state = State.open(folder)
        with Supervisor(io.StringIO(), signals=False) as first:
            first.start(postgres.find(state, os.environ).child)
        second = postgres.find(state, os.environ)
        fill(folder)
        with (
            Supervisor(io.StringIO(), signals=False) as failing,
            pytest.raises(LocalServerError, match="the disk is full; free some space") as caught,
        ):
            failing.start(second.child)

    assert "No space left on device" in str(caught.value)
