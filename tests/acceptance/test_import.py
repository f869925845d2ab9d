"""A project that cannot be imported: one line that names the place, and the right exit code."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.site import CELERY
from tests.support.worker import EITHER, POOLS

SETTINGS = """
import os

SECRET_KEY = "x"
INSTALLED_APPS = ["site1"]
CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
"""


@pytest.fixture
def project(program: Program) -> Path:
    """Return the package of a Django project in the program's folder."""
    package = program.folder / "site1"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "celery.py").write_text(CELERY)
    (package / "settings.py").write_text(SETTINGS)
    (package / "tasks.py").touch()
    own = {"TASK_SERVER_APP": "site1", "TASK_SERVER_RUNTIME_DIR": str(program.folder / "run")}
    program.environ = {**program.environ, **own}
    return package


@pytest.fixture
def silent() -> Iterator[int]:
    """Return the port of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


#: File, text that is added to it, what the line has, and the exit code.
FAILURES = {
    "variable": (
        "settings.py",
        'TOKEN = os.environ["SITE1_TOKEN"]',
        ("KeyError: 'SITE1_TOKEN'", "set the variable SITE1_TOKEN"),
        78,
    ),
    "improperly configured": (
        "settings.py",
        """
import django.core.exceptions as django

raise django.ImproperlyConfigured("Set the SITE1_TOKEN environment variable")""",
        ("ImproperlyConfigured: Set the SITE1_TOKEN environment variable",),
        78,
    ),
    "syntax": ("settings.py", "DEBUG = (", ("SyntaxError: '(' was never closed",), 78),
    "module": (
        "tasks.py",
        "import absent_library",
        ("No module named 'absent_library'", "install absent_library"),
        78,
    ),
    "name": ("tasks.py", "from site1.settings import ABSENT", ("correct the import",), 78),
    "exit": ("tasks.py", 'raise SystemExit("no")', ("sys.exit('no')",), 78),
    "password": (
        "settings.py",
        'raise ValueError("redis://:hunter2@db/0 is no URL")',
        ("ValueError: redis://:********@db/0 is no URL",),
        78,
    ),
    "redis": (
        "tasks.py",
        "import redis\nredis.Redis(port=1).ping()",
        ("ConnectionError", "start that server"),
        69,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("kind", FAILURES)
def test_what_breaks_the_import_is_one_line(
    kind: str, pool: str, program: Program, project: Path
) -> None:
    """
    The line has the file and the line of the project's own code, and the cure; no traceback.
    """
    file, text, words, code = FAILURES[kind]
    path = project / file
    path.write_text(path.read_text() + text + "\n")
    number = len(path.read_text().splitlines())

    ended = program("worker", pool)

    assert code == ended.returncode, ended.stderr
    lines = ended.stderr.splitlines()
    assert "Error: site1 " == lines[-1][:13], lines
    assert f" at {path}:{number}" in lines[-1], lines[-1]
    assert [] == [word for word in words if word not in lines[-1]], lines[-1]
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr


def test_the_traceback_is_shown_to_who_asks(program: Program, project: Path) -> None:
    """
    --traceback prints it before the line.
    """
    (project / "tasks.py").write_text("1 / 0\n")

    ended = program("worker", "prefork", "--traceback")

    assert 78 == ended.returncode
    assert "Traceback (most recent call last)" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr.splitlines()[-1]


#: Each waits for a server that accepts and never answers.
WAITS = {
    "redis": "import redis\nredis.Redis(port={port}).ping()",
    "postgres": "import psycopg2\npsycopg2.connect(host='127.0.0.1', port={port}, dbname='x')",
}


@pytest.mark.parametrize("pool", EITHER)
@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("redis", "settings.py"),
        pytest.param("postgres", "tasks.py", marks=pytest.mark.slow),
    ],
)
def test_an_import_that_hangs_is_ended_and_named(  # noqa: PLR0917 - fixtures
    kind: str, file: str, pool: str, program: Program, project: Path, silent: int
) -> None:
    """
    A server that does not answer holds the start up for `import_seconds`, and no longer; exit 69.
    """
    path = project / file
    path.write_text(path.read_text() + WAITS[kind].format(port=silent) + "\n")
    number = len(path.read_text().splitlines())

    ended = program("worker", pool, TASK_SERVER_IMPORT_SECONDS="1")

    assert 69 == ended.returncode, ended.stderr
    assert f"for 1 s it has been at {path}:{number}" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_slow_import_that_goes_on_is_let_go_on(
    pool: str, program: Program, project: Path
) -> None:
    """
    Twenty modules of 0.2 s each take longer than `import_seconds`; none of them stands still.
    """
    for number in range(20):
        (project / f"slow{number}.py").write_text("import time\ntime.sleep(0.2)\n")
    imports = "".join(f"import site1.slow{number}\n" for number in range(20))
    (project / "tasks.py").write_text(f"{imports}1 / 0\n")

    ended = program("worker", pool, TASK_SERVER_IMPORT_SECONDS="2")

    assert 78 == ended.returncode, ended.stderr
    assert f"{project / 'tasks.py'}:21" in ended.stderr
