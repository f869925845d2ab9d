"""What a real shell completes, and what it never shows."""

import os
import pty
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.support.wait import until

PROJECT = """
from celery import Celery

app = Celery("words", broker="redis://127.0.0.1:1/0")
app.conf.task_routes = {"words.sent": {"queue": "declared"}}


@app.task(name="words.sent")
def sent():
    pass


@app.task(name="words.received")
def received():
    pass
"""

#: Each prints what the shell would offer for the words of its arguments.
SHELLS = {
    "bash": """
        source $SCRIPT
        COMP_WORDS=(task-server "$@"); COMP_CWORD=$#
        _task_server_completion task-server
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { }
        _describe() { shift 2; printf '%s\\n' "${(P@)1}" }
        compadd() { printf '%s\\n' "${(P@)${@[-1]}}" }
        source $SCRIPT
        words=(task-server "$@"); CURRENT=$(( $# + 1 ))
        _task_server_completion
    """,
    "fish": """
        source $SCRIPT
        set line (string join -- ' ' task-server $argv)
        complete -C"$line" | string replace -r '\\t.*' ''
    """,
}


class Shell:
    """A shell in the folder of a project."""

    def __init__(self, name: str, folder: Path, cache: Path, script: Path) -> None:
        self.name = name
        self.folder = folder
        self.environ: dict[str, str] = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(cache),
            "TASK_SERVER_APP": "words",
            # A second is not much on a machine that is busy.
            "TASK_SERVER_COMPLETION_SECONDS": "60",
            "HOME": str(cache),
            "SCRIPT": str(script),
        }
        self.environ.pop("DJANGO_SETTINGS_MODULE", None)

    def offers(self, *words: str) -> list[str]:
        """Return what is offered for the last of *words*; nothing may be on standard error."""
        script = textwrap.dedent(SHELLS[self.name])
        # The name of the script is the first argument of bash and zsh.
        name = [] if self.name == "fish" else ["shell"]
        done = subprocess.run(
            [self.name, "-c", script, *name, *words],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "" == done.stderr
        # zsh has the help behind a colon.
        words = (line.partition(":")[0].strip() for line in done.stdout.splitlines())
        return [word for word in words if word]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what a shell reads at its start, printed once each."""
    folder = tmp_path_factory.mktemp("scripts")

    @cache
    def of(name: str) -> Path:
        command = [sys.executable, "-m", "task_server", "completion", name]
        file = folder / name
        file.write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return file

    return of


@pytest.fixture(
    params=["bash", *(pytest.param(one, marks=pytest.mark.slow) for one in SHELLS if one != "bash")]
)
def shell(
    request: pytest.FixtureRequest, tmp_path: Path, require, scripts: Callable[[str], Path]
) -> Shell:
    """Return each shell, in a project with a worker of its own."""
    if shutil.which(request.param) is None:
        require("shells", f"{request.param} is not installed")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "words.py").write_text(PROJECT)
    (folder / "task-server.toml").write_text('[workers.bulk]\nqueues = ["batch1", "batch2"]\n')
    return Shell(request.param, folder, tmp_path / "cache", scripts(request.param))


def test_commands_options_workers_and_queues_are_completed(shell: Shell) -> None:
    """
    From the tree of commands, and from the configuration.
    """
    assert ["completion"] == shell.offers("compl")
    assert {"call", "check", "completion", "config"} <= set(shell.offers("c"))
    assert {"--countdown"} == set(shell.offers("call", "--cou"))
    assert ["bulk"] == shell.offers("worker", "bu")
    assert ["beat"] == shell.offers("health", "be")
    assert {"batch1", "batch2"} <= set(shell.offers("call", "--queue", "batch"))
    assert {"batch1", "batch2"} <= set(shell.offers("dead", "list", "--queue", "batch"))
    assert {"batch1", "batch2"} <= set(shell.offers("delayed", "count", "batch"))
    assert {"batch1", "batch2"} <= set(shell.offers("delayed", "drop", "--queue", "batch"))


def test_logs_are_of_what_the_last_up_ran(shell: Shell) -> None:
    """
    Its log has the names; `restart` has none, for nothing runs.
    """
    log = shell.folder / ".task-server" / "log"
    log.mkdir(parents=True)
    (log / "up.log.1").write_text("postgres | ready\n")
    (log / "up.log").write_text("prefork  | ready\na line of nobody\nprefork  | done\n")

    assert {"prefork", "postgres"} == set(shell.offers("logs", "p"))
    assert ["prefork"] == shell.offers("logs", "postgres", "pre")
    assert [] == shell.offers("restart", "p")


def test_tasks_are_those_of_the_project_as_it_is_now(shell: Shell) -> None:
    """
    The import goes on behind the first answer; a change of a module is seen.
    """
    names = ["words.received", "words.sent"]
    until(lambda: shell.offers("call", "words.") == names)
    assert ["words.sent"] == shell.offers("call", "words.s")
    assert "declared" in shell.offers("call", "--queue", "de")

    (shell.folder / "words.py").write_text(PROJECT.replace("words.sent", "words.shown"))
    until(lambda: shell.offers("call", "words.s") == ["words.shown"])


def test_a_project_that_hangs_does_not_hang_the_shell(shell: Shell) -> None:
    """
    The answer is empty, and there before the import ends.
    """
    pipe, begun = shell.folder / "pipe", shell.folder / "begun"
    os.mkfifo(pipe)
    (shell.folder / "words.py").write_text(
        f"open({str(begun)!r}, 'w').close()\nopen({str(pipe)!r}).read()\n{PROJECT}"
    )

    # Less than the import would take, and enough to start it sooner or later.
    shell.environ["TASK_SERVER_COMPLETION_SECONDS"] = "4"

    def begins() -> bool:
        assert [] == shell.offers("call", "words.")
        return begun.exists()

    until(begins)
    assert [] == shell.offers("call", "words.")


@pytest.mark.parametrize(
    "text", ["raise RuntimeError('no')", "print('noise')\nimport sys; sys.exit(3)", "def ("]
)
def test_a_project_that_is_broken_shows_nothing(shell: Shell, text: str) -> None:
    """
    No word of it reaches the terminal of somebody who types.
    """
    (shell.folder / "words.py").write_text(text)

    assert [] == shell.offers("call", "words.")


def test_a_configuration_that_is_broken_shows_nothing(shell: Shell) -> None:
    """
    Neither its errors nor a traceback; commands are completed all the same.
    """
    (shell.folder / "task-server.toml").write_text("workers = 5")

    assert [] == shell.offers("worker", "b")
    assert [] == shell.offers("call", "--queue", "b")
    assert ["completion"] == shell.offers("compl")


def test_a_cache_that_is_another_users_is_not_read(shell: Shell, tmp_path: Path) -> None:
    """
    A folder that others may write to could offer what they like.
    """
    cache = tmp_path / "cache" / "task-server"
    cache.mkdir(parents=True)
    until(lambda: "words.sent" in shell.offers("call", "words."))
    for file in cache.glob("*.json"):
        file.write_text(file.read_text().replace("words.sent", "words.evil"))
    assert "words.evil" in shell.offers("call", "words.")
    cache.chmod(0o777)

    assert [] == shell.offers("call", "words.")


def test_tab_in_a_terminal() -> None:
    """
    An interactive bash completes the command.
    """
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(  # noqa: S606 - it is the shell
            "bash", ["bash", "--norc", "--noprofile", "-i"], {**environ, "TERM": "dumb"}
        )
    shown = b""

    def until_shown(words: bytes) -> None:
        nonlocal shown
        while words not in shown:
            shown += os.read(terminal, 4096)

    os.write(terminal, b'eval "$(task-server completion bash)"; echo rea""dy\n')
    until_shown(b"ready\r\n")
    shown = b""
    os.write(terminal, b"task-server compl\t")
    until_shown(b"task-server completion")
    os.write(terminal, b"\x15exit\n")
    os.waitpid(pid, 0)
    os.close(terminal)
