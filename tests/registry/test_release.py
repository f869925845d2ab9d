"""What a release is: a wheel and an sdist, which install and work on each supported Python."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from task_server.cli.revision import revision
from task_server.local import Server
from tests.registry.test_install import ROOT, run
from tests.support.once import made_once
from tests.support.require import Require
from tests.support.wait import PATIENCE

# Packages are downloaded and installed.
pytestmark = pytest.mark.slow

VERSIONS = tomllib.loads((ROOT / "tests" / "versions.toml").read_text())["python"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Sends a task, and prints its result.
SEND = "import one; print(one.double.delay(21).get(timeout={seconds}))"

#: Nothing else is in an sdist, beside the package.
BESIDE = {"CHANGELOG.md", "LICENSE", "README.md", "PKG-INFO", "pyproject.toml", "hatch_build.py"}


@pytest.fixture(scope="module")
def uv(require: Require) -> str:
    """Return the program."""
    found = shutil.which("uv")
    if found is None:
        require("uv", "uv is not on PATH; pip install uv")
    return found


@pytest.fixture(scope="module")
def dist(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the sdist, and of the wheel that is made of it."""

    def build(folder: Path) -> None:
        done = run(uv, "build", "--quiet", "--out-dir", folder, ROOT)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "dist", build)


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(dist: Path) -> Path:
    (found,) = dist.glob("*.tar.gz")
    return found


def python(version: str, require: Require) -> str:
    """Return an interpreter of *version*; .ci/versions.py runs this where others are."""
    if "{}.{}".format(*sys.version_info) == version:
        return sys.executable
    found = shutil.which(f"python{version}")
    # What is on PATH may be a script that has no such version.
    if found is None or subprocess.run([found, "-V"], check=False, capture_output=True).returncode:
        require(f"python{version}", f"there is no python{version} on PATH")
    return found


def test_nothing_is_in_the_wheel_but_the_package(wheel: Path) -> None:
    """
    Sources, scripts of Redis, pages of the admin, tables, alert rules and the revision.

    No test, no document, no reference project.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    package = [name for name in names if name.startswith("task_server/")]

    assert {f"task_server-{PROJECT['version']}.dist-info"} == {
        name.partition("/")[0] for name in set(names) - set(package)
    }
    assert {".py", ".lua", ".html", ".css", ".md", ".toml", ".txt", ".typed", ".yml"} >= {
        Path(name).suffix or f".{Path(name).name.partition('.')[2]}" for name in package
    }
    sources = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "task_server").rglob("*")
        if path.suffix in {".py", ".lua", ".html", ".css"}
    }
    assert sources <= set(package)
    assert "task_server/manifests/alerts.yml" in package
    assert len(names) == len(set(names))


def test_nothing_else_is_in_the_sdist(sdist: Path) -> None:
    """
    What a wheel is made of, and the documents that its metadata names.
    """
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]

    others = {name for name in names if not name.startswith("src/task_server/")}
    assert BESIDE <= others <= BESIDE | {".gitignore"}
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_release_installs_and_works(  # noqa: PLR0917 - fixtures
    version: str,
    kind: str,
    uv: str,
    require: Require,
    redis_server: Server,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """
    On a bare Python: it says its version and revision, and a worker takes a task and drains.
    """
    interpreter = python(version, require)
    file = request.getfixturevalue(kind)
    for command in (
        (uv, "venv", "--quiet", "--python", interpreter, tmp_path / "venv"),
        (uv, "pip", "install", "--quiet", "--python", tmp_path / "venv", file),
    ):
        done = run(*command, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    programs = tmp_path / "venv" / "bin"

    said = run(programs / "task-server", "--version", folder=tmp_path).stdout
    assert f"task-server, version {PROJECT['version']} (revision {revision()})\n" == said

    (tmp_path / "one.py").write_text(
        "import os\nfrom celery import Celery\n"
        "url = os.environ['REDIS_URL']\napp = Celery('one', broker=url, backend=url)\n\n\n"
        "@app.task\ndef double(number):\n    return 2 * number\n"
    )
    own = {"PYTHONPATH": str(tmp_path), "TASK_SERVER_RUNTIME_DIR": str(tmp_path / "run")}
    environ = {**os.environ, "REDIS_URL": redis_server.url, **own}
    with subprocess.Popen(
        [programs / "task-server", "worker", "prefork", "--app", "one"],
        cwd=tmp_path,
        env=environ,
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        try:
            answer = subprocess.run(
                [programs / "python", "-c", SEND.format(seconds=PATIENCE)],
                cwd=tmp_path,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            worker.send_signal(signal.SIGTERM)
            log = worker.communicate()[0]

    assert "42\n" == answer.stdout, f"{answer.stderr}\n{log}"
    assert worker.returncode == 0, log


def test_the_changelog_has_the_version() -> None:
    """
    A release is described, with its day, before it is built.
    """
    text = (ROOT / "CHANGELOG.md").read_text()

    assert "## [Unreleased]" in text
    assert re.search(
        rf"^## \[{re.escape(PROJECT['version'])}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE
    )
