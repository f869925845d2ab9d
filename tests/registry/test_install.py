"""What an installation beside a project brings, resolved and installed from the registry."""

import json
import os
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path

import pytest

from task_server.local import Server
from tests.support.require import Require

# Packages are downloaded and installed.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

#: Each with the first release that must fit; all of them run Celery with Redis.
PROJECTS = ("pretix>=2026.8", "nautobot>=3.2", "mayan-edms>=4.12", "weblate>=2026.10")

OURS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Whatever a worker beside them may need; `embedded` is for machines that have no server.
EXTRAS = ",".join(sorted({*OURS["optional-dependencies"]} - {"embedded"}))

#: What no worker needs: extras, and the reference project with its own needs.
LEFT_OUT = (
    *("docket", "flower", "gevent", "prometheus_client", "psycopg2", "pypdfium2"),
    *("dj_database_url", "requests", "yaml"),
)


@pytest.fixture(scope="module")
def uv(require: Require) -> str:
    """Return the program."""
    found = shutil.which("uv")
    if found is None:
        require("uv", "uv is not on PATH; pip install uv")
    return found


def run(*command: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in {"VIRTUAL_ENV", "UV_NO_SYNC", "PYTHONPATH"}
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**environ, "UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def resolve(uv: str, tmp_path: Path, project: str) -> subprocess.CompletedProcess[str]:
    wanted = tmp_path / "wanted.in"
    wanted.write_text(f"task-server[{EXTRAS}] @ {ROOT.as_uri()}\n{project}\n")
    # In a folder of its own: uv would apply the constraints of this repository.
    command = (uv, "pip", "compile", "--quiet", "--python-version", "3.12", wanted)
    return run(*command, folder=tmp_path)


@pytest.mark.parametrize("project", PROJECTS)
def test_it_installs_beside(project: str, uv: str, tmp_path: Path) -> None:
    """
    The dependencies of a large project of today and ours, with every extra, have a solution.
    """
    done = resolve(uv, tmp_path, project)

    assert done.returncode == 0, done.stderr
    assert project.partition(">")[0] in done.stdout


def test_superset_does_not_fit_and_the_documents_say_why(uv: str, tmp_path: Path) -> None:
    """
    Superset 6 wants a redis-py below 6, older than what the transport is tested with.

    The day this fails because it fits, the sentence goes from the documents, and superset
    joins the others.
    """
    done = resolve(uv, tmp_path, "apache-superset>=6")

    assert done.returncode != 0
    assert "redis" in done.stderr
    assert "Superset 6" in (ROOT / "docs" / "how-to" / "move-in.md").read_text()


@pytest.fixture(scope="module")
def bare(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the programs of an environment that has our wheel and no extra."""
    folder = tmp_path_factory.mktemp("bare")
    for command in (
        (uv, "build", "--quiet", "--wheel", "--out-dir", folder / "dist", ROOT),
        (uv, "venv", "--quiet", folder / "venv"),
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    wheel = next((folder / "dist").glob("*.whl"))
    done = run(uv, "pip", "install", "--quiet", "--python", folder / "venv", wheel)
    assert done.returncode == 0, done.stderr
    return folder / "venv" / "bin"


def test_a_worker_brings_only_what_it_needs(bare: Path) -> None:
    """
    The wheel without extras has no reference project, no package of a pool or a database.
    """
    code = (
        "import importlib.util as u, json, sys; "
        "print(json.dumps([n for n in sys.argv[1:] if u.find_spec(n)]))"
    )
    done = run(bare / "python", "-c", code, *LEFT_OUT)

    assert json.loads(done.stdout) == []


def test_a_bare_worker_starts_as_far_as_its_project(bare: Path, tmp_path: Path) -> None:
    """
    It judges its configuration and prints its command; nothing that is left out is imported.
    """
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "__init__.py").touch()
    (tmp_path / "one" / "celery.py").write_text("from celery import Celery\napp = Celery('one')\n")
    done = run(
        *(bare / "task-server", "worker", "prefork", "--app", "one", "--print-argv"),
        folder=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert "--pool=prefork" in done.stdout


@pytest.mark.parametrize(
    ("command", "cure"),
    [
        (["worker", "gevent", "--app", "one"], "add gevent>=25.5"),
        (["flower", "--app", "one"], "add flower>=2.0.1"),
        (["metrics", "--app", "one"], "add prometheus-client>=0.20"),
        (["demo"], "a checkout of task-server's repository"),
    ],
    ids=["gevent", "flower", "metrics", "demo"],
)
def test_what_is_left_out_is_named_where_it_is_asked_for(
    command: list[str], cure: str, bare: Path, tmp_path: Path
) -> None:
    """
    The error says what to install, and no traceback.
    """
    (tmp_path / "one.py").write_text("from celery import Celery\napp = Celery('one')\n")
    done = run(bare / "task-server", *command, folder=tmp_path)

    assert done.returncode in {1, 78}, done.stderr
    assert cure in done.stderr
    assert "Traceback" not in done.stderr


def test_up_does_without_flower(bare: Path, tmp_path: Path, redis_server: Server) -> None:
    """
    A bare installation runs a project's worker, says that Flower is not there, and stops.
    """
    (tmp_path / "one.py").write_text(
        "import os\nfrom celery import Celery\n"
        "app = Celery('one', broker=os.environ['REDIS_URL'])\n"
    )
    with subprocess.Popen(
        [bare / "task-server", "up", "--app", "one", "--worker", "prefork"],
        cwd=tmp_path,
        env={**os.environ, "REDIS_URL": redis_server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as up:
        assert up.stdout is not None
        lines = []
        for line in up.stdout:
            lines.append(line)
            if line.startswith("Up: "):
                up.send_signal(signal.SIGINT)

    assert up.returncode == 0, "".join(lines)
    assert "Up: prefork; no Flower (install task-server[flower])" in "".join(lines)
