"""The usual health check: it imports little, and says what the complete one says."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from task_server.config.loader import find, load
from task_server.errors import ConfigError
from task_server.health import command, heartbeat, quick
from task_server.health.beat_heartbeat import BeatHeartbeat
from task_server.health.heartbeat import Heartbeat
from task_server.health.process import boot_id, process_status
from task_server.health.written import NotReadError, Written
from tests.support.ports import own_port

#: Of the standard library, what takes longer to import than a whole check may last.
COSTLY = {
    *(
        "argparse",
        "ast",
        "dataclasses",
        "email",
        "gettext",
        "http",
        "inspect",
        "importlib.metadata",
    ),
    *("logging", "pathlib", "pkgutil", "shutil", "ssl", "subprocess", "tempfile", "tomllib"),
    *("traceback", "unittest", "urllib", "uuid"),
}
if sys.version_info >= (3, 14):
    # There `typing` itself reads annotations by it.
    COSTLY.remove("ast")

#: Ours, for a worker.
OURS = {
    *("task_server", "task_server.__main__", "task_server.config", "task_server.config.listening"),
    *("task_server.health", "task_server.health.answer", "task_server.health.heartbeat"),
    *("task_server.health.limits", "task_server.health.place", "task_server.health.private_folder"),
    *("task_server.health.process", "task_server.health.quick", "task_server.health.verdict"),
    "task_server.health.written",
}

Here = Callable[..., tuple[int | None, str]]


def beating(**changes: object) -> Heartbeat:
    """Return the heartbeat of a worker that is ready, and is this process."""
    status = process_status(os.getpid())
    assert status is not None
    return Heartbeat(
        state="ready",
        time=time.time(),
        monotonic=time.monotonic(),
        boot_id=boot_id(),
        started=time.monotonic(),
        pid=os.getpid(),
        pid_start=status[1],
        name="prefork",
        node="prefork@here",
        pool="prefork",
        concurrency=2,
        connected=True,
        free=2,
    )._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working folder, and a folder for heartbeats in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def said(folder: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    """Ask the usual check in the folder; return its code, and what it printed."""

    def ask(*arguments: str, **environ: str) -> tuple[int | None, str]:
        code = quick.main(arguments, {"TASK_SERVER_RUNTIME_DIR": str(folder / "run"), **environ})
        return code, capsys.readouterr().out

    return ask


def write(folder: Path, beat: Heartbeat | BeatHeartbeat, name: str = "prefork") -> None:
    heartbeat.write(heartbeat.path_of(folder / "run", name), beat)


def imported(folder: Path, *arguments: str) -> set[str]:
    """Return the modules that `task-server ARGUMENTS` has imported when it ends well."""
    program = (
        "import os, sys\nbefore = set(sys.modules)\nimport task_server.__main__\n"
        "from task_server.health import quick\n"
        "assert quick.main(sys.argv[2:], os.environ) == 0\n"
        "print(*set(sys.modules) - before, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{_path()}{program}", *arguments],
        env={**os.environ, "TASK_SERVER_RUNTIME_DIR": str(folder / "run")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ended.returncode, ended.stderr
    return set(ended.stderr.split())


def _path() -> str:
    """Return a line that lets a Python without its site find task_server."""
    return f"import sys\nsys.path.append({str(Path(quick.__file__).parents[2])!r})\n"


@pytest.mark.parametrize("flags", [(), ("--ready",), ("--ready", "--json")])
def test_it_imports_little(folder: Path, flags: tuple[str, ...]) -> None:
    """
    What it imports is what it costs, several times a minute in each pod.
    """
    write(folder, beating())

    found = imported(folder, "health", "prefork", *flags)

    assert set() == {one for one in found if one in COSTLY or one.partition(".")[0] in COSTLY}
    assert OURS == {one for one in found if one.partition(".")[0] == "task_server"}


def test_beats_imports_little_too(folder: Path) -> None:
    """
    It has a heartbeat of its own.
    """
    names = ("time", "monotonic", "boot_id", "started", "pid", "pid_start")
    common = {name: getattr(beating(), name) for name in names}
    write(folder, BeatHeartbeat(state="sending", **common), "beat")

    found = imported(folder, "health", "beat", "--ready")

    own = {"task_server.health.beat_heartbeat", "task_server.health.beat_verdict"}
    assert set() == found & COSTLY
    assert OURS | own == {one for one in found if one.partition(".")[0] == "task_server"}


STATES = {
    "ready": {},
    "draining": {"state": "draining", "reason": "SIGTERM", "until": 1e12},
    "away": {"connected": False, "connecting_since": 1.0, "trouble": "refused"},
    "exited": {"pid_start": 1},
    "rebooted": {"boot_id": "another"},
    "blocked": {"pool": "gevent", "monotonic": -100.0, "active": 1},
}


@pytest.mark.parametrize("flags", [(), ("--ready",), ("--json",), ("--json", "--ready")])
@pytest.mark.parametrize("state", STATES)
def test_it_says_what_the_complete_check_says(
    state: str,
    flags: tuple[str, ...],
    folder: Path,
    said: Here,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Word for word, and with the same exit code.
    """
    write(folder, beating(**STATES[state]))
    environ = {"TASK_SERVER_RUNTIME_DIR": str(folder / "run")}

    code, text = said("prefork", *flags)
    other = command.main(["prefork", *flags], environ)

    assert (other, _without_seconds(capsys.readouterr().out)) == (code, _without_seconds(text))


def _without_seconds(text: str) -> str:
    return "".join(one for one in text if not one.isdigit())


@pytest.mark.parametrize("name", ["flower", "metrics"])
def test_services_are_asked_where_they_listen(
    name: str, said: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Both checks look in the same place.
    """
    environ = {
        f"TASK_SERVER_{name.upper()}_PORT": str(own_port()),
        f"TASK_SERVER_{name.upper()}_ADDRESS": "0.0.0.0",
    }

    code, text = said(name, "--ready", **environ)
    other = command.main([name, "--ready"], environ)

    assert (1, capsys.readouterr().out) == (code, text)
    assert 1 == other
    assert "no answer from 127.0.0.1:" in text


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ((), {}),
        (("--help",), {}),
        (("prefork", "--stale", "5"), {}),
        (("prefork", "gevent"), {}),
        (("../prefork",), {}),
        (("absent",), {}),
        (("prefork",), {"TASK_SERVER_STALE": "5"}),
        (("prefork",), {"TASK_SERVER_TIMING": "{}"}),
        (("prefork",), {"TASK_SERVER_STATE": "."}),
        (("prefork",), {"TASK_SERVER_RUNTIME_DIR": ""}),
        (("flower",), {"TASK_SERVER_FLOWER_PORT": "tcp://10.0.0.7:5555"}),
        (("metrics",), {"TASK_SERVER_METRICS_PORT": "65536"}),
        (("metrics",), {"TASK_SERVER_METRICS_PORT": "9" * 5000}),
    ],
)
def test_the_unusual_is_left_to_the_complete_check(
    arguments: tuple[str, ...], environ: dict[str, str], folder: Path, said: Here
) -> None:
    """
    It prints nothing then.
    """
    write(folder, beating())

    assert (None, "") == said(*arguments, **environ)


def test_a_broken_heartbeat_is_left_to_the_complete_check(folder: Path, said: Here) -> None:
    """
    Whatever is in the file, it ends without an error of its own.
    """
    path = folder / "run" / "prefork.json"
    values = beating()._asdict()
    for text in ("", "{", "[]", "7", "null", "[" * 100_000, json.dumps({**values, "pid": "x"})):
        path.write_text(text)

        assert (None, "") == said("prefork")


#: Files and variables, and the folder of heartbeats that they name.
WRITTEN = [
    ("", {}),
    ('runtime_dir = "/a"', {}),
    ('"runtime_dir" = "/a"', {}),
    ('"runtime\\u005fdir" = "/a"', {}),
    ('[workers.prefork]\nextra_args = ["runtime_dir"]', {}),
    ('runtime_dir = " /a "', {"TASK_SERVER_RUNTIME_DIR": " /b "}),
    ("", {"TASK_SERVER_RUNTIME_DIR_FILE": "named"}),
    ("runtime_dir = 5", {}),
    ("runtime_dir = '''/a\n/b'''", {}),
    ("runtime_dir = ''", {}),
    ("runtime_dir = [", {}),
    ("[runtime_dir]\na = 1", {}),
]


@pytest.mark.parametrize("file", ["task-server.toml", "pyproject.toml"])
@pytest.mark.parametrize(("text", "environ"), WRITTEN)
def test_a_setting_is_read_as_the_configuration_reads_it(
    file: str, text: str, environ: dict[str, str], folder: Path
) -> None:
    """
    Or not at all; a file without the word is not parsed.
    """
    (folder / "named").write_text("/c")
    if file == "pyproject.toml":
        head, table, rest = text.partition("[")
        text = f"[tool.task-server]\n{head}" + (
            f"{table}{rest}" if "=" in head else f"{table}tool.task-server.{rest}" if table else ""
        )
    (folder / file).write_text(text)
    try:
        expected: object = load(find(folder), environ).runtime_dir
    except ConfigError:
        expected = NotReadError

    try:
        found: object = Written(environ).text("runtime_dir")
    except NotReadError:
        return

    assert expected == found


@pytest.mark.parametrize("kind", ["fifo", "folder", "dangling", "huge"])
def test_a_file_that_is_none_does_not_let_it_wait(kind: str, folder: Path) -> None:
    """
    A pipe would let it wait for its writer.
    """
    path = folder / "task-server.toml"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "dangling":
            path.symlink_to("nowhere")
        case "huge":
            path.write_text("#" * 2**21)

    with pytest.raises(NotReadError):
        Written({}).text("runtime_dir")
