"""`task-server up` for a day of work: detached, attached, asked, restarted and ended."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from task_server import local
from tests.integration.local.test_local_endings import disk, fill
from tests.support.program import MARK, Ended, Output, Program
from tests.support.site import SETTINGS, SQLITE, TASKS, write_site
from tests.support.wait import PATIENCE, until

UP = ("up", "--worker", "prefork", "--flower-port", "0")

#: One that notes its start, and ends when a file appears.
SLOW = f"""{TASKS}

@shared_task
def wait(started, go):
    import pathlib, time

    pathlib.Path(started).touch()
    while not pathlib.Path(go).exists():
        time.sleep(0.05)
    return "done"
"""


class Terminal:
    """A terminal, with a program that runs in it as its controlling one."""

    def __init__(self, program: Program, *arguments: str) -> None:
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.chdir(program.folder)
            environ = {**program.environ, MARK: program.mark}
            command = [sys.executable, "-m", "task_server", *arguments]
            os.execve(sys.executable, command, environ)  # noqa: S606
        self.seen = ""

    def until(self, text: str) -> str:
        """Read until *text* is there; return all that was read."""
        while text not in self.seen:
            assert self._read(), f"the output ended without {text!r}:\n{self.seen}"
        return self.seen

    def press(self, keys: str) -> None:
        """Type *keys*."""
        os.write(self._file, keys.encode())

    def close(self) -> None:
        """Close the terminal, as a window is closed."""
        os.close(self._file)

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bool:
        readable, _, _ = select.select([self._file], [], [], PATIENCE)
        assert readable, f"the terminal is silent:\n{self.seen}"
        try:
            chunk = os.read(self._file, 65536)
        except OSError:  # EIO: nobody has it open any more
            chunk = b""
        self.seen += chunk.decode(errors="replace").replace("\r\n", "\n")
        return bool(chunk)


@pytest.fixture
def site(program: Program) -> Iterator[Path]:
    """Return the package of a project with SQLite; what of it still runs at the end is ended."""
    package = write_site(program.folder, SQLITE, SLOW)
    program.environ = {
        **program.environ,
        "TASK_SERVER_WORKERS_PREFORK_CONCURRENCY": "1",
        # As long as a test waits for anything, so that a slow machine ends no task.
        "TASK_SERVER_WORKERS_PREFORK_DRAIN_SECONDS": str(PATIENCE),
    }
    yield package
    program("down")
    for pid in program.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def ps(program: Program) -> dict[str, dict[str, Any]]:
    """Return what `ps` says, by name."""
    ended = program("ps", "--json")
    assert 0 == ended.returncode, ended.stderr
    return {one["name"]: one for one in json.loads(ended.stdout)}


def add(program: Program) -> Ended:
    """Have a task run, sent by a shell of the project that knows no variable."""
    code = "from site1.tasks import add; print('sum', add.delay(2, 3).get(timeout=60))"
    return program("shell", "--command", code)


def start_slow(program: Program) -> tuple[subprocess.Popen[str], Path]:
    """Have a task run that ends when a file appears; return who waits for it, and the file."""
    started, go = program.folder / "started", program.folder / "go"
    code = (
        "from site1.tasks import wait; "
        f"print('task', wait.delay({str(started)!r}, {str(go)!r}).get(timeout={PATIENCE}))"
    )
    process = program.start("shell", "--command", code)
    until(started.exists, "the task's start")
    return process, go


def test_a_day_without_a_terminal(program: Program, site: Path) -> None:
    """
    A script starts it and goes on when all is ready; everything else finds it, without a variable.
    """
    started = program(*UP, "--detach")

    assert 0 == started.returncode, started.stderr
    assert "(`task-server down` stops everything)" in started.stdout
    processes = ps(program)
    assert ["redis", "prefork", "flower", "metrics"] == list(processes)
    assert {"ready"} == {one["state"] for one in processes.values()}
    assert {0} == {one["restarts"] for one in processes.values()}
    for name in ("flower", "metrics"):
        assert processes[name]["address"] in started.stdout
    # A session of its own: it outlives the terminal.
    (supervisor,) = {os.getsid(one["pid"]) for one in processes.values()}
    assert os.getsid(0) != supervisor

    assert "sum 5" in add(program).stdout
    shown = program("env", "--format", "json").result
    assert {"CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"} == set(shown)
    again = program(*UP, "--detach")
    assert (0, True) == (again.returncode, "Up: prefork" in again.stdout)

    restarted = program("restart", "prefork")
    assert (0, "prefork is ready") == (restarted.returncode, restarted.stdout.strip())
    assert (1, True) == (
        ps(program)["prefork"]["restarts"],
        ps(program)["prefork"]["pid"] != processes["prefork"]["pid"],
    )
    assert "sum 5" in add(program).stdout

    down = program("down")
    assert 0 == down.returncode, down.stderr
    assert "Stopping task-server (pid" in down.stdout
    assert "prefork has ended" in down.stdout
    assert {} == program.left()
    gone = program("health", "prefork", TMPDIR=str(program.folder))
    assert (1, False) == (gone.returncode, "of `task-server up`" in gone.stdout)
    log = program("logs", "up").stdout
    assert "Stopped by `task-server down`." in log
    assert {"up"} == {line.split()[0] for line in log.splitlines()}
    assert 3 == len(program("logs", "-n", "3").stdout.splitlines())


def test_without_an_up_each_command_says_so(program: Program, site: Path) -> None:
    """
    `down` and `ps` have nothing to do; what needs one says how to start it.
    """
    down, listed, restart, env = (
        program(*words) for words in (("down",), ("ps",), ("restart", "prefork"), ("env",))
    )
    logs = program("logs")
    manage = program("manage", "check")

    assert (0, "Nothing runs in .task-server.") == (down.returncode, down.stdout.strip())
    assert (0, "Nothing runs in .task-server.") == (listed.returncode, listed.stdout.strip())
    assert [1, 1, 1] == [one.returncode for one in (restart, env, logs)]
    assert "start it with `task-server up`" in restart.stderr
    assert "start it with `task-server up`" in env.stderr
    assert "`task-server up` has not run there" in logs.stderr
    assert 0 == manage.returncode, manage.stderr
    assert "no `up` runs in .task-server: with the environment as it is" in manage.stderr
    assert "System check identified no issues" in manage.stdout
    assert not (program.folder / ".task-server").exists()


def test_manage_passes_the_exit_code_and_finds_a_project_in_a_folder(program: Program) -> None:
    """
    The manage.py of the project that `code` names is run; what follows is Django's own.
    """
    folder = program.folder / "backend"
    folder.mkdir()
    write_site(folder, SQLITE)
    program.environ = {
        **program.environ,
        "TASK_SERVER_CODE": str(folder),
        "TASK_SERVER_APP": "site1",
    }

    unknown = program("manage", "nonsense", "--app", "x")
    helped = program("manage", "migrate", "--help")
    code = program("shell", "--command", "import sys; print(sys.argv[0]); sys.exit(7)")

    assert (1, True) == (unknown.returncode, "Unknown command: 'nonsense'" in unknown.stderr)
    assert "--fake-initial" in helped.stdout
    assert (7, True) == (code.returncode, f"{folder}/manage.py" in code.stdout)


def test_the_shell_has_the_terminal(program: Program, site: Path) -> None:
    """
    What is typed reaches Django's shell, which sees a terminal.
    """
    terminal = Terminal(program, "shell", "--interface", "python")

    terminal.until(">>> ")
    terminal.press("import sys; print('terminal', sys.stdin.isatty(), 6 * 7)\n")
    terminal.until("terminal True 42")
    terminal.press("sys.exit(3)\n")

    assert 3 == terminal.end()


def test_two_terminals(program: Program, site: Path) -> None:
    """
    The first one's Ctrl-C stops all. The second's leaves it running, and it sees what comes.
    """
    first = Terminal(program, *UP)
    first.until("(Ctrl-C stops everything)")

    second = Terminal(program, "up")
    second.until("Attached to task-server (pid ")
    second.until("Up: prefork")
    assert 0 == program("restart", "prefork").returncode
    second.until("Restarting prefork, by `task-server restart`.")
    second.until("prefork@")
    second.press("\x03")
    assert 0 == second.end()
    assert "Detached; it goes on." in second.seen
    assert "ready" == ps(program)["prefork"]["state"]

    third = Terminal(program, "up", "--worker", "gevent")
    third.until("--worker: without effect")
    third.until("Up: prefork")
    first.press("\x03")
    assert 0 == first.end()
    assert 0 == third.end()
    assert "has ended" in third.seen
    assert {} == program.left()


@pytest.mark.slow
def test_two_at_once_are_one(program: Program, site: Path) -> None:
    """
    Whoever locks the folder first starts everything; the other attaches to the start.
    """
    both = [program.start(*UP), program.start(*UP)]
    outputs = [Output(one) for one in both]
    for output in outputs:
        output.until("Up: prefork")

    attached = ["Attached" in "\n".join(output.seen) for output in outputs]
    assert [False, True] == sorted(attached)
    assert 0 == program("down").returncode
    assert [0, 0] == [one.wait(timeout=PATIENCE) for one in both]


def test_a_detached_one_that_cannot_start_says_why(program: Program, site: Path) -> None:
    """
    Its exit code and its message are those of `up`; nothing is left.
    """
    (site / "settings.py").write_text(f"{SQLITE}TOKEN = os.environ['SITE1_TOKEN']\n")

    ended = program(*UP, "--detach")

    assert 78 == ended.returncode
    assert "KeyError: 'SITE1_TOKEN'" in ended.stderr
    assert {} == program.left()


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_during_a_detached_start_ends_it(
    number: signal.Signals, program: Program, site: Path
) -> None:
    """
    The command waits for the end of what it began.
    """
    (site / "tasks.py").write_text(
        "import time\n\nprint('importing', flush=True)\ntime.sleep(600)\n"
    )
    process = program.start(*UP, "--detach", TASK_SERVER_TRACEBACK="1")
    Output(process).until("importing")

    process.send_signal(number)

    assert 0 != process.wait(timeout=PATIENCE)
    assert {} == program.left()


@pytest.mark.slow
def test_a_window_that_is_closed(program: Program, site: Path) -> None:
    """
    It ends what was started in it, and not what was detached from it.
    """
    terminal = Terminal(program, *UP)
    terminal.until("(Ctrl-C stops everything)")
    terminal.close()
    os.waitpid(terminal.pid, 0)
    assert {} == program.left()

    terminal = Terminal(program, *UP, "--detach")
    terminal.until("(`task-server down` stops everything)")
    assert 0 == terminal.end()
    terminal.close()
    assert "sum 5" in add(program).stdout


def test_a_save_reloads_when_tasks_have_ended(program: Program, site: Path) -> None:
    """
    A storm of saves while a task runs is one new start, with the last of what was saved; the
    task ends first. Flower and Redis go on.
    """
    assert 0 == program(*UP, "--detach").returncode
    before = ps(program)
    waiter, go = start_slow(program)

    log = Output(program.start("logs", "-f", "up"))
    for number in range(20):
        text = SLOW.replace("return a + b", f"return a + b + {number}")
        (site / "tasks.py").write_text(text)
    log.until("Reload: site1/tasks.py changed; prefork end their tasks and start again.")
    assert "draining" == ps(program)["prefork"]["state"]
    (site / "views.py").write_text("x = 1\n")
    go.touch()
    assert "task done" in waiter.communicate(timeout=PATIENCE)[0]
    log.until("Reload: prefork is ready.")

    after = ps(program)
    assert "sum 24" in add(program).stdout
    assert 1 <= after["prefork"]["restarts"] <= 2
    assert [before[one]["pid"] for one in ("redis", "flower")] == [
        after[one]["pid"] for one in ("redis", "flower")
    ]


def test_a_mistake_does_not_end_it(program: Program, site: Path) -> None:
    """
    A file that cannot be compiled: one line with the file and the line, and the next save
    starts the worker again.
    """
    process = program.start(*UP)
    output = Output(process)
    output.until("Up: prefork")
    path = site / "tasks.py"

    path.write_text("def broken(:\n")
    line = output.until("Reload: prefork did not start: ")
    assert f"{path}:1" in line
    assert ("failed", None) == tuple(ps(program)["prefork"][one] for one in ("state", "pid"))
    failed = program("restart", "prefork")
    assert (1, True) == (failed.returncode, f"{path}:1" in failed.stderr)
    path.write_text(TASKS)
    output.until("Reload: prefork is ready.")

    assert "sum 5" in add(program).stdout
    process.send_signal(signal.SIGINT)
    assert 0 == process.wait(timeout=PATIENCE)


@pytest.mark.slow
def test_ctrl_c_during_a_reload_lets_the_task_end(program: Program, site: Path) -> None:
    """
    The drain of the reload is the drain of the stop: the worker gets no second signal.
    """
    process = program.start(*UP)
    output = Output(process)
    output.until("Up: prefork")
    waiter, go = start_slow(program)
    (site / "tasks.py").write_text(SLOW + "\n")
    output.until("Reload: site1/tasks.py changed")

    process.send_signal(signal.SIGINT)
    output.until("prefork    | ")
    go.touch()

    assert "task done" in waiter.communicate(timeout=PATIENCE)[0]
    assert 0 == process.wait(timeout=PATIENCE)
    assert {} == program.left()


@pytest.mark.slow
def test_no_reload(program: Program, site: Path) -> None:
    """
    It can be switched off; the banner says so.
    """
    started = program(*UP, "--detach", TASK_SERVER_RELOAD="false")

    assert "Reload: off" in started.stdout
    assert 0 == program("down").returncode


@pytest.mark.slow
def test_a_full_disk_ends_nothing(program: Program, site: Path, tmp_path: Path) -> None:
    """
    While it is full the output is not kept; it can still be asked, and ended.
    """
    with disk(tmp_path / "disk", "size=24m") as folder:
        program.environ = {**program.environ, "TASK_SERVER_STATE": str(folder / "state")}
        assert 0 == program(*UP, "--detach").returncode
        fill(folder)

        assert "ready" == ps(program)["prefork"]["state"]
        restarted = program("restart", "prefork")
        assert 0 == restarted.returncode, restarted.stderr
        assert 0 == program("down").returncode
        assert {} == program.left()


def test_a_full_disk_at_the_start_is_named(program: Program, site: Path, tmp_path: Path) -> None:
    """
    Detached or not: one line, and nothing is left.
    """
    with disk(tmp_path / "disk", "size=1m") as folder:
        (folder / "state").mkdir()
        fill(folder)

        ended = program(*UP, "--detach", "--state", folder / "state")

    assert 1 == ended.returncode
    assert "the disk is full" in ended.stderr
    assert {} == program.left()


@pytest.mark.slow
def test_a_broker_of_the_settings(program: Program, site: Path, redis_server: local.Server) -> None:
    """
    No variable is needed then, and none printed; restart and reload are as with ours.
    """
    url = redis_server.url
    settings = f"CELERY_BROKER_URL = CELERY_RESULT_BACKEND = {url!r}\n"
    (site / "settings.py").write_text(SETTINGS + settings)

    assert 0 == program(*UP, "--detach").returncode

    assert ["prefork", "flower", "metrics"] == list(ps(program))
    env = program("env")
    assert (0, "") == (env.returncode, env.stdout)
    assert "sum 5" in add(program).stdout
    assert 0 == program("restart", "prefork").returncode
    assert "sum 5" in add(program).stdout
    assert 0 == program("health", "prefork", "--ready").returncode


@pytest.mark.slow
def test_servers_are_restarted_too(program: Program, site: Path) -> None:
    """
    The Redis keeps what it had, and the workers find it again.
    """
    assert 0 == program(*UP, "--detach").returncode

    assert 0 == program("restart", "redis").returncode

    assert "sum 5" in add(program).stdout
    assert 1 == ps(program)["redis"]["restarts"]


@pytest.mark.slow
def test_a_project_in_a_folder_without_django(program: Program) -> None:
    """
    Its code is found and watched there; `shell` says what is missing.
    """
    package = program.folder / "back" / "end" / "plain"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    app = "import celery\n\napp = celery.Celery('plain', include=['plain.tasks'])\n"
    (package / "celery.py").write_text(app)
    (package / "tasks.py").write_text(TASKS)
    program.environ = {**program.environ, "TASK_SERVER_CODE": str(program.folder / "back" / "end")}
    process = program.start(*UP)
    output = Output(process)
    output.until("Up: prefork")
    output.until("Reload: at changes of plain")

    (package / "tasks.py").write_text(f"{TASKS}\nx = 1\n")
    output.until("Reload: prefork is ready.")
    shell = program("shell")

    assert 78 == shell.returncode
    assert "the project's Celery app names no DJANGO_SETTINGS_MODULE" in shell.stderr
    assert 0 == program("down").returncode
    assert 0 == process.wait(timeout=PATIENCE)


@pytest.mark.slow
def test_a_detached_start_outlives_the_command_that_was_killed(
    program: Program, site: Path
) -> None:
    """
    kill -9 of what waits for it is no reason to end.
    """
    go = program.folder / "go"
    (site / "tasks.py").write_text(
        f"{TASKS}\nimport os, pathlib, time\n\nprint('importing', flush=True)\n"
        f"while not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.05)\n"
    )
    process = program.start(*UP, "--detach", TASK_SERVER_TRACEBACK="1")
    output = Output(process)
    output.until("importing")

    process.kill()
    process.wait()
    go.touch()

    output.until("Up: prefork")
    assert "sum 5" in add(program).stdout


@pytest.mark.slow
def test_attached_to_one_that_is_killed(program: Program, site: Path) -> None:
    """
    Whoever is attached is told by the exit code; whoever asks next finds nothing.
    """
    process = program.start(*UP)
    Output(process).until("Up: prefork")
    attached = program.start("up")
    output = Output(attached)
    output.until("Attached to task-server (pid ")

    process.kill()

    assert 1 == attached.wait(timeout=PATIENCE)
    assert "has ended" in output.rest()[-1]
    assert {} == program.left()
    assert "Nothing runs in .task-server." == program("down").stdout.strip()


def test_beat_is_there_where_the_project_has_a_schedule(program: Program, site: Path) -> None:
    """
    It is listed, asked for its health, and reloaded as a worker is; `call` finds the broker.
    """
    schedule = {"add": {"task": "site1.tasks.add", "schedule": 3600.0, "args": (1, 1)}}
    (site / "settings.py").write_text(f"{SQLITE}CELERY_BEAT_SCHEDULE = {schedule!r}\n")
    process = program.start(*UP)
    output = Output(process)
    output.until("Up: prefork, beat; Flower is at ")

    health = program("health", "beat")
    called = program("call", "site1.tasks.add", "2", "3", "--wait")
    (site / "tasks.py").write_text(f"{TASKS}\nx = 1\n")
    output.until("Reload: site1/tasks.py changed; prefork, beat end their tasks and start again.")

    assert (0, True) == (health.returncode, "of `task-server up`" in health.stdout)
    assert (0, "5") == (called.returncode, called.stdout.strip()), called.stderr
    assert "with the servers of task-server (pid " in called.stderr
    output.until("Reload: beat is ready.")
    assert 0 == program("down").returncode
    assert 0 == process.wait(timeout=PATIENCE)
