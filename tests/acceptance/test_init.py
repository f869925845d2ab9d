"""`task-server init` on projects that are not ours: found, written, and judged by the rest."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import Ended, Program
from tests.support.site import CELERY, SETTINGS

TASKS = """
from celery import shared_task


@shared_task
def add(a, b):
    return a + b


@shared_task
def fetch(url):
    add.apply_async((1, 2), queue="emails")
"""

FILE = "task-server.toml"

#: A broker that nobody asks.
BROKER = "CELERY_BROKER_URL = 'redis://127.0.0.1:1/0'\n"


@pytest.fixture
def site(program: Program) -> Path:
    """Return the folder of a Django project in the program's folder."""
    make(program.folder)
    return program.folder


def make(folder: Path, name: str = "site1", settings: str = BROKER) -> None:
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"from {name}.celery import app\n")
    (package / "celery.py").write_text(CELERY.replace("site1", name))
    (package / "settings.py").write_text(SETTINGS.replace("site1", name) + settings)
    (package / "tasks.py").write_text(TASKS)
    (folder / "manage.py").write_text(
        f"import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', '{name}.settings')\n"
    )


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below *folder*, but for bytecode."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


def accepted(program: Program) -> Ended:
    """Return what `check` says of the file, which the others have accepted."""
    for command in (("config", "show"), ("config", "check")):
        done = program(*command)
        assert 0 == done.returncode, done.stderr
    done = program("check")
    assert 0 == done.returncode, done.stdout + done.stderr
    return done


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_it_says_what_it_found_and_writes_one_file(program: Program, site: Path) -> None:
    """
    Queues by name, routes and calls; the schedule; where each address stands. All else is
    as it was, and a second run changes nothing.
    """
    (site / "site1" / "settings.py").write_text(
        f"{SETTINGS}\n"
        "CELERY_BROKER_URL = os.environ.get('BROKER', 'redis://:secret@127.0.0.1:1/0')\n"
        "HOST = os.environ.get('DB_HOST', 'db')\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'HOST': HOST,\n"
        "    'NAME': os.environ.get('DB_NAME', 'site')}}\n"
        "CELERY_TASK_ROUTES = {'site1.tasks.fetch': {'queue': 'webhooks'}}\n"
        "CELERY_BEAT_SCHEDULE = {'sum': {'task': 'site1.tasks.add', 'schedule': 30}}\n"
        "MEDIA_ROOT = '/sata'\n"
    )
    (site / "requirements.txt").touch()
    before = files(site)

    first = program("init")
    written = files(site)
    second = program("init")

    assert 0 == first.returncode, first.stderr
    for line in (
        "app: site1, found by manage.py (site1.settings)",
        "broker: redis, set by CELERY_BROKER_URL, read from BROKER (redis://:********@127.0.0.1:1/0)",
        (
            "database default: PostgreSQL, set by DATABASES['default'], read from DB_HOST, DB_NAME"
            " (site at db)"
        ),
        "schedule: 1 entry of CELERY_BEAT_SCHEDULE",
        "queues: 3 queues of 2 tasks: celery, webhooks, emails",
        "  emails: by site1/tasks.py:12",
        "gevent: webhooks; their names say that their tasks wait for the network",
        "requirements: pip, by requirements.txt",
    ):
        assert line in first.stdout.splitlines()
    assert {FILE} == written.keys() - before.keys()
    assert before == {name: written[name] for name in before}
    text = written[FILE].decode()
    assert "secret" not in first.stdout + first.stderr + text
    assert "127.0.0.1" not in text
    assert "says all of this already; nothing was changed" in second.stdout
    assert written == files(site)
    assert "every queue that Celery knows has a worker" in accepted(program).stdout


def test_print_writes_to_standard_output_alone(program: Program, site: Path) -> None:
    """
    The same text that the file gets, and nothing else.
    """
    before = files(site)
    shown = program("init", "--print")
    assert before == files(site)
    program("init")

    assert (site / FILE).read_text() == shown.stdout
    assert "queues: 2 queues" in shown.stderr


def test_an_existing_file_is_compared_and_kept(program: Program, site: Path) -> None:
    """
    Whatever is in it; what is shown can be taken with the line that is shown.
    """
    own = 'app = "site1"\n[workers.prefork]\nqueues = ["celery"]\nconcurrency = 3\n'
    (site / FILE).write_text(own)

    done = program("init")

    assert 0 == done.returncode, done.stderr
    assert own == (site / FILE).read_text()
    assert '  - workers.prefork.queues = ["celery"]' in done.stdout.splitlines()
    assert '  + workers.prefork.queues = "all"' in done.stdout.splitlines()
    assert "concurrency" not in done.stdout
    taken = f"task-server init --print > {FILE}.new && mv {FILE}.new {FILE}"
    assert taken in done.stdout
    line = taken.replace("task-server init", "python3 -m task_server init", 1)
    environ = {**program.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", line], cwd=site, env=environ, check=True, capture_output=True)
    assert "nothing was changed" in program("init").stdout


def test_a_table_in_pyproject_toml_is_an_existing_file(program: Program, site: Path) -> None:
    """
    A second file beside it would take its place unseen.
    """
    (site / "pyproject.toml").write_text('[tool.task-server]\napp = "site1"\n')

    done = program("init")

    assert 0 == done.returncode, done.stderr
    assert not (site / FILE).exists()
    assert "pyproject.toml exists and was not changed" in done.stdout
    assert "[tool.task-server]" in done.stdout


@pytest.mark.parametrize("kind", ["dangling", "broken"])
def test_what_has_the_name_of_the_file_is_not_written_through(
    kind: str, program: Program, site: Path
) -> None:
    """
    A link that leads nowhere, or a file that is no TOML: one error, nothing written.
    """
    if kind == "dangling":
        (site / FILE).symlink_to(site / "elsewhere.toml")
    else:
        (site / FILE).write_text("[")

    done = program("init")

    assert 78 == done.returncode
    assert "Traceback" not in done.stderr
    assert not (site / "elsewhere.toml").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("TOKEN = os.environ['SITE1_TOKEN']\n", "KeyError: 'SITE1_TOKEN'"),
        ("import absent_package\n", "No module named 'absent_package'"),
        ("raise SystemExit(3)\n", "it ends the process"),
        ("os._exit(4)\n", "its import ended the process (exit 4)"),
    ],
    ids=["variable", "package", "exit", "at-once"],
)
def test_a_project_that_cannot_be_imported_is_read_as_text(
    settings: str, says: str, program: Program, site: Path
) -> None:
    """
    The file has what its text says, and why no more.
    """
    routes = "CELERY_TASK_ROUTES = {'site1.tasks.fetch': {'queue': 'webhooks'}}\n"
    broker = "CELERY_BROKER_URL = os.environ.get('BROKER')\n"
    (site / "site1" / "settings.py").write_text(SETTINGS + routes + broker + settings)

    done = program("init")

    assert 0 == done.returncode, done.stderr
    assert "not imported, so read as text: " in done.stdout
    assert says in done.stdout
    text = (site / FILE).read_text()
    assert "could not be imported" in text
    assert 'queues = ["webhooks"]' in text
    assert "emails" in text
    assert "set by CELERY_BROKER_URL, read from BROKER" in text
    assert 0 == program("config", "show").returncode


def test_an_import_that_hangs_is_ended_with_what_it_started(
    program: Program, site: Path, listener: socket.socket
) -> None:
    """
    It waits for a server that never answers: the line is named, the file is written, and no
    process is left.
    """
    port = listener.getsockname()[1]
    (site / "site1" / "tasks.py").write_text(
        "import subprocess, sys, redis\n"
        "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        f"redis.Redis(port={port}).ping()\n"
    )

    done = program("init", "--import-seconds", "1")

    assert 0 == done.returncode, done.stderr
    assert f"for 1 s it has been at {site}/site1/tasks.py:3" in done.stdout
    assert (site / FILE).exists()
    assert {} == program.left()


def test_a_project_in_a_folder_below(program: Program) -> None:
    """
    A repository with more in it: the file at its root names the folder, and `check` runs there.
    """
    make(program.folder / "services" / "shop", "shop")
    (program.folder / "frontend" / "node_modules").mkdir(parents=True)

    done = program("init")

    assert 0 == done.returncode, done.stderr
    assert 'code = "services/shop"' in (program.folder / FILE).read_text()
    accepted(program)


def test_several_projects_are_named_with_the_line_for_each(program: Program) -> None:
    """
    None is guessed; the line that is shown does it.
    """
    make(program.folder / "shop", "shop")
    make(program.folder / "blog", "blog")

    done = program("init")

    assert 78 == done.returncode
    assert not (program.folder / FILE).exists()
    assert "    task-server init --app blog --code blog\n" in done.stderr
    assert "    task-server init --app shop --code shop\n" in done.stderr
    assert 0 == program("init", "--app", "blog", "--code", "blog").returncode
    accepted(program)


def test_several_apps_in_one_folder_are_named(program: Program) -> None:
    """
    The error says how to choose, and the choice is kept in the file.
    """
    for name in ("one", "two"):
        (program.folder / name).mkdir()
        (program.folder / name / "__init__.py").touch()
        (program.folder / name / "celery.py").write_text(
            f"from celery import Celery\napp = Celery('{name}')\n"
        )

    done = program("init")
    chosen = program("init", "--app", "two")

    assert (78, 0) == (done.returncode, chosen.returncode)
    assert "one, two" in done.stderr
    assert 'app = "two"' in (program.folder / FILE).read_text()
    assert "nothing was changed" in program("init").stdout


def test_the_layout_of_cookiecutter_django(program: Program) -> None:
    """
    The app is config/celery_app.py, the settings are a module below; its own variable for them.
    """
    folder = program.folder
    (folder / "config" / "settings").mkdir(parents=True)
    for name in ("config/__init__.py", "config/settings/__init__.py"):
        (folder / name).touch()
    (folder / "config" / "settings" / "base.py").write_text(
        SETTINGS.replace(', "site1"', "") + "\n"
        "CELERY_BROKER_URL = os.environ.get('REDIS_URL', 'redis://redis:6379/0')\n"
    )
    (folder / "config" / "settings" / "local.py").write_text("from .base import *\n")
    (folder / "config" / "celery_app.py").write_text(
        CELERY.replace("site1.settings", "config.settings.local").replace("site1", "shop")
    )
    (folder / "manage.py").write_text(
        "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings.local')\n"
    )

    done = program("init")

    assert 0 == done.returncode, done.stderr
    assert "app: config.celery_app, found by manage.py (config.settings.local)" in done.stdout
    assert "broker: redis, set by CELERY_BROKER_URL, read from REDIS_URL" in done.stdout
    accepted(program)


def test_settings_that_manage_py_chooses_by_a_variable(program: Program, site: Path) -> None:
    """
    Computed as manage.py does, and written, since a worker does not run manage.py.
    """
    (site / "site1" / "celery.py").write_text(
        "from celery import Celery\napp = Celery('site1')\n"
        "app.config_from_object('django.conf:settings', namespace='CELERY')\n"
        "app.autodiscover_tasks()\n"
    )
    (site / "site1" / "settings_dev.py").write_text("from site1.settings import *\n")
    (site / "manage.py").write_text(
        "import os\nname = os.getenv('S', 'settings_dev')\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', f'site1.{name}')\n"
    )

    done = program("init")

    assert 0 == done.returncode, done.stderr
    assert "settings: site1.settings_dev, named by manage.py, by S" in done.stdout
    assert 'settings_module = "site1.settings_dev"' in (site / FILE).read_text()
    accepted(program)


def test_a_project_that_needs_a_function_called_first(program: Program, site: Path) -> None:
    """
    `setup`, as django-configurations and Nautobot need it: in `check` and in a worker.
    """
    (site / "starting.py").write_text(
        "import os\n\ndef setup():\n    os.environ['SITE1_STARTED'] = 'yes'\n"
    )
    with (site / "site1" / "settings.py").open("a") as file:
        file.write("assert os.environ['SITE1_STARTED'] == 'yes'\n")
    (site / FILE).write_text('app = "site1"\nsetup = "starting:setup"\n')

    assert "site1 can be imported" in accepted(program).stdout
    wrong = program("check", TASK_SERVER_SETUP="starting:absent")
    missing = program("check", TASK_SERVER_SETUP="absent:setup")
    assert (78, 78) == (wrong.returncode, missing.returncode)
    assert "setup: the module 'starting' has no function 'absent'" in wrong.stdout
    assert "setup: there is no module 'absent'" in missing.stdout
    assert 78 == program("config", "check", TASK_SERVER_SETUP="starting.setup").returncode


def test_nothing_here_is_one_error(program: Program) -> None:
    """
    With what to type.
    """
    done = program("init")

    assert 78 == done.returncode
    assert "task-server init --app cl --code backend" in done.stderr
    assert [] == list(program.folder.iterdir())
