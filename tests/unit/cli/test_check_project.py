"""`task-server check` on projects that are not ours: broken, hanging, printing, odd."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from task_server.cli import cli
from task_server.cli.check_report import grouped
from task_server.errors import ConfigError, Finding

CELERY = "from celery import Celery\napp = Celery('cl')\n"
BROKER = "app.conf.broker_url = 'redis://127.0.0.1:1/0'\n"


def check(folder: Path, source: str, *options: str, **environ: str) -> Any:
    """Run `check` in *folder* on the project *source*."""
    (folder / "cl.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "task_server", "check", "--app", "cl", *options],
        env={**os.environ, "PYTHONPATH": str(folder), **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def levels(ended: Any) -> dict[str, str]:
    return {one["setting"]: one["level"] for one in json.loads(ended.stdout)}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os\n\nTOKEN = os.environ['CL_TOKEN']\n", "set the variable CL_TOKEN"),
        ("import sys\nsys.exit(3)\n", "it ends the process (sys.exit(3)) at "),
        ("raise BaseException('odd')\n", "BaseException: odd at "),
        ("def f(:\n", "SyntaxError: "),
        ("import no_such_module\n", "install no_such_module"),
        ("raise RuntimeError('redis://:hunter2@db/0')\n", "RuntimeError"),
    ],
)
def test_an_import_that_fails_is_one_line_with_its_place(
    source: str, words: str, tmp_path: Path
) -> None:
    """
    File and line are in it, and nothing is called ok that would rest on defaults.
    """
    ended = check(tmp_path, source)

    first, *rest = ended.stdout.splitlines()
    assert 78 == ended.returncode, ended.stderr
    assert "" == ended.stderr
    assert first.startswith("error    app: cl cannot be imported: ")
    assert words in first
    assert f"{tmp_path}/cl.py:" in first
    assert "hunter2" not in ended.stdout
    assert [] == [line for line in rest if line.startswith("ok")]
    assert any(line.startswith("info     not checked: ") for line in rest)


def test_the_hint_shows_the_failure(tmp_path: Path) -> None:
    """
    The variable in the line prints the traceback of that very import.
    """
    source = "def f():\n    raise RuntimeError('deep')\nf()\n"
    first = check(tmp_path, source)
    again = check(tmp_path, source, TASK_SERVER_TRACEBACK="1")

    assert "TASK_SERVER_TRACEBACK=1 shows the traceback" in first.stdout
    assert "in f\n    raise RuntimeError('deep')" in again.stderr


def test_an_import_that_hangs_is_ended_and_named(tmp_path: Path) -> None:
    """
    It is a problem of a peer, printed like every other line, for programs too.
    """
    source = "import threading\n\nthreading.Event().wait()\n"
    ended = check(tmp_path, source, "--json", TASK_SERVER_IMPORT_SECONDS="1")

    (finding,) = json.loads(ended.stdout)
    assert 69 == ended.returncode
    assert ("error", "app", True) == (finding["level"], finding["setting"], finding["peer"])
    assert f"{tmp_path}/cl.py:3" in finding["message"]


def test_what_the_project_prints_is_not_the_answer(tmp_path: Path) -> None:
    """
    One JSON array is what a program gets.
    """
    ended = check(tmp_path, f"print('hello')\n{CELERY}{BROKER}", "--json")

    assert 0 == ended.returncode, ended.stdout
    assert "ok" == levels(ended)["app"]
    assert "hello\n" == ended.stderr


def test_tasks_that_never_reach_a_queue_are_an_error(tmp_path: Path) -> None:
    """
    With CELERY_TASK_ALWAYS_EAGER no worker ever gets one.
    """
    ended = check(tmp_path, f"{CELERY}{BROKER}app.conf.task_always_eager = True\n", "--json")

    assert 78 == ended.returncode
    assert "error" == levels(ended)["task_always_eager"]


def test_our_own_workers_are_not_told_to_a_project_without_their_queues(tmp_path: Path) -> None:
    """
    Nothing is said of gevent to whom has no queue io_bound, unless it is asked for.
    """
    silent = check(tmp_path, CELERY + BROKER)
    asked = check(tmp_path, CELERY + BROKER, "--worker", "gevent")

    assert "gevent" not in silent.stdout
    assert "workers.gevent." in asked.stdout


def test_a_project_with_queues_of_its_own(tmp_path: Path) -> None:
    """
    Thirteen of fourteen queues are named in calls and settings: all are reported, with the place.
    """
    calls = "".join(
        f"def call{number}():\n    work.apply_async(queue='batch{number}')\n"
        for number in range(10)
    )
    source = (
        f"{CELERY}{BROKER}\n@app.task(queue='own')\ndef work(): pass\n{calls}"
        "def command(parser):\n    parser.add_argument('--queue', default='etl')\n"
    )
    ended = check(tmp_path, source, "--json")
    every = check(tmp_path, source, "--json", TASK_SERVER_WORKERS_BULK_QUEUES="all")

    found = {one["setting"]: one for one in json.loads(ended.stdout)}
    assert "error" == found["queue own"]["level"]
    assert f"batch0 ({tmp_path}/cl.py:8)" in found["queues of calls"]["message"]
    assert 'set workers.prefork.queues = "all"' == found["queues of calls"]["repair"]
    assert f"etl ({tmp_path}/cl.py:" in found["names of queues"]["message"]
    assert 0 == every.returncode
    assert {"queues": "ok", "names of queues": "warning"}.items() <= levels(every).items()


def test_no_client_is_imported_to_look_at_what_is_written(tmp_path: Path) -> None:
    """
    Clients of Redis and the worker's own parts are a third of the time of a check.
    """
    program = (
        "import sys\nfrom task_server.cli import cli\n"
        "try: cli(['check', '--app', 'cl'])\n"
        "except SystemExit: print(*sys.modules)"
    )
    (tmp_path / "cl.py").write_text(CELERY + BROKER)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = set(ended.stdout.splitlines()[-1].split())
    assert set() == {"redis", "gevent", "task_server.worker"} & loaded


@pytest.mark.parametrize(
    "options",
    [
        ("--timeout", "nan"),
        ("--timeout", "inf"),
        ("--timeout", "0"),
        ("--timeout", "1e400"),
        ("--stop-grace", "nan"),
        ("--stop-grace", "-1"),
        ("--worker", "prefork=" + "9" * 5000),
        ("--worker", "prefork=0"),
        ("--worker", "prefork=\u0664\u0662x"),
        ("--worker", "gevnt"),
        ("--config", "/"),
        ("--config", "/dev/full"),
    ],
)
def test_an_option_that_is_wrong_is_wrong_usage(options: tuple[str, str]) -> None:
    """
    Exit 2 and one line, whatever is written; 78 for a configuration that cannot be read.
    """
    ended = CliRunner().invoke(cli, ["check", "--no-project", *options])

    # `task_server.__main__` ends with the code of an error of ours.
    assert getattr(ended.exception, "exit_code", ended.exit_code) in (2, 78)
    assert isinstance(ended.exception, SystemExit | ConfigError)


def test_config_show_does_not_wait_for_an_import_that_hangs(tmp_path: Path) -> None:
    """
    It is ended and named there as well.
    """
    (tmp_path / "cl.py").write_text("import threading\n\nthreading.Event().wait()\n")
    ended = subprocess.run(
        [sys.executable, "-m", "task_server", "config", "show", "prefork", "--app", "cl"],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "TASK_SERVER_IMPORT_SECONDS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 69 == ended.returncode
    assert f"{tmp_path}/cl.py:3" in ended.stderr


def test_the_same_words_about_several_workers_are_one_line() -> None:
    """
    The setting has the names; what differs keeps its own line.
    """
    found = [
        Finding("info", f"workers.{name}.delivery", "is so", f"say workers.{name}.delivery = 'x'")
        for name in ("prefork", "gevent")
    ]
    other = Finding("info", "workers.bulk.delivery", "is not so")

    lines = [f"{one.setting}: {one.text}" for one in grouped([*found, other])]

    assert [
        "workers.NAME.delivery (prefork, gevent): is so; say workers.NAME.delivery = 'x'",
        "workers.bulk.delivery: is not so",
    ] == lines
