"""What the text of settings and of manage.py says, without an import."""

import os
from pathlib import Path

import pytest

from task_server.config.model import Config
from task_server.local.survey import recipes
from task_server.local.survey.chosen_settings import Chosen, chosen_settings
from task_server.local.survey.folder import manager_of
from task_server.local.survey.look import look
from task_server.local.survey.variables import Settings


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("X = os.environ['A']", ("A",)),
        ("X = os.environ.get('A', 'b')", ("A",)),
        ("X = getenv('A') or os.getenv('B')", ("A", "B")),
        ("X = env('A', default='c')", ("A",)),
        ("X = env.str('A')", ("A",)),
        ("X = config('A', cast=int)", ("A",)),
        ("X = config.get('celery', 'broker', fallback='')", ()),
        ("X = {'default': env.db('A')}", ("A",)),
        ("X = {'default': dj_database_url.config()}", ("DATABASE_URL",)),
        ("X = {'default': dj_database_url.config(env='A')}", ("A",)),
        ("HOST = env('A')\nX = f'redis://{HOST}/0'", ("A",)),
        ("if True:\n    X = {}\n    X['default']['HOST'] = os.environ['A']", ("A",)),
        ("class Base:\n    X = values('A') or os.environ['B']", ("B",)),
        ("X = {'HOST': 'environ', 'get': dict.get('A')}", ()),
        ("A = B\nB = A\nX = A", ()),
        ("X = ", ()),
    ],
)
def test_variables_of_a_setting(text: str, variables: tuple[str, ...], tmp_path: Path) -> None:
    """
    Through the ways in which settings read the environment, and through names between.
    """
    file = tmp_path / "settings.py"
    file.write_text(text)

    assert variables == Settings([file]).variables("X")


def test_settings_that_are_made_of_each_other(tmp_path: Path) -> None:
    """
    Forty lines that each add to the one before, as pretix has them, are followed once.

    Way by way these would be forty to the sixth.
    """
    lines = [f"APPS = APPS + [os.environ['A{number}']]" for number in range(40)]
    file = tmp_path / "settings.py"
    file.write_text("\n".join([*lines, "X = APPS"]))

    assert {f"A{number}" for number in range(40)} == set(Settings([file]).variables("X"))


@pytest.mark.parametrize(
    ("expression", "environ", "chosen"),
    [
        ("f\"shop.{os.environ.get('ENV', 'local')}\"", {}, Chosen("shop.local", ("ENV",))),
        ("'shop.' + os.getenv('ENV', 'a').lower()", {"ENV": "B"}, Chosen("shop.b", ("ENV",))),
        ("os.environ['SETTINGS']", {}, Chosen(None, ("SETTINGS",))),
        ("os.environ['SETTINGS']", {"SETTINGS": "a.b"}, Chosen("a.b", ("SETTINGS",))),
        ("os.environ.get('S') or 'a.c'", {}, Chosen("a.c", ("S",))),
        ("NAME", {}, Chosen("shop.x", ("ENV",))),
        ("'shop.settings'", {}, None),
        ("choose()", {}, None),
    ],
)
def test_settings_that_manage_py_chooses(
    expression: str, environ: dict[str, str], chosen: Chosen | None, tmp_path: Path
) -> None:
    """
    By variables, as they are here; None for what takes Python to know.
    """
    manage = tmp_path / "manage.py"
    manage.write_text(
        "import os\nNAME = f\"shop.{os.environ.get('ENV', 'x')}\"\n"
        f"os.environ.setdefault('DJANGO_SETTINGS_MODULE', {expression})\n"
    )

    assert chosen == chosen_settings(manage, environ)


APP = """
from celery import Celery
app = Celery("shop")
app.config_from_object("django.conf:settings")
"""


def shop(folder: Path, manage: str, celery: str = APP) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "celery.py").write_text(celery)
    (folder / "manage.py").write_text(manage)


def test_settings_are_written_only_where_the_app_names_none(tmp_path: Path) -> None:
    """
    A worker imports the app alone, not manage.py.
    """
    shop(tmp_path, "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')")

    assert "shop.settings" == recipes.needs("shop", tmp_path, {}).settings_module
    (tmp_path / "shop" / "celery.py").write_text(
        f"os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n{APP}"
    )
    assert "" == recipes.needs("shop", tmp_path, {}).settings_module


def test_django_configurations_gets_its_setup_and_its_lines(tmp_path: Path) -> None:
    """
    The function is called for it; the class is named by a variable, which is said.
    """
    shop(
        tmp_path,
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"
        "os.environ.setdefault('DJANGO_CONFIGURATION', 'Dev')\n"
        "from configurations.management import execute_from_command_line",
    )
    needs = recipes.needs("shop", tmp_path, {})
    told = recipes.needs("shop", tmp_path, {"DJANGO_CONFIGURATION": "Prod"})

    assert "configurations:setup" == needs.setup
    (note,) = needs.notes
    assert "export DJANGO_CONFIGURATION=Dev" in note
    assert 'os.environ.setdefault("DJANGO_CONFIGURATION", "Dev")' in note
    assert ("configurations:setup", ()) == (told.setup, told.notes)


def test_django_configurations_that_sets_itself_up_needs_nothing(tmp_path: Path) -> None:
    """
    As its documentation has it for Celery.
    """
    shop(
        tmp_path,
        "",
        "import os, configurations\nos.environ.setdefault('DJANGO_CONFIGURATION', 'Dev')\n"
        f"os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'a')\nconfigurations.setup()\n{APP}",
    )

    assert recipes.Needs() == recipes.needs("shop", tmp_path, {})


def test_mayan_takes_the_settings_of_its_own_variable(tmp_path: Path) -> None:
    """
    MAYAN_SETTINGS_MODULE, or what its entry point takes without it.
    """
    told = recipes.needs("mayan", tmp_path, {"MAYAN_SETTINGS_MODULE": "mayan.settings.staging"})

    assert "mayan.settings.staging" == told.settings_module
    assert "mayan.settings.production" == recipes.needs("mayan", tmp_path, {}).settings_module
    assert "nautobot:setup" == recipes.needs("nautobot.core.celery", tmp_path, {}).setup


@pytest.mark.parametrize(
    ("files", "name", "add"),
    [
        (["uv.lock", "pyproject.toml"], "uv", "uv add x"),
        (["poetry.lock", "pyproject.toml"], "poetry", "poetry add x"),
        (
            ["requirements.txt"],
            "pip",
            "echo x >> requirements.txt && pip install -r requirements.txt",
        ),
        (["pyproject.toml"], "pip", "pip install x"),
    ],
)
def test_what_manages_the_requirements(
    files: list[str], name: str, add: str, tmp_path: Path
) -> None:
    """
    The lock file says it; also above the project, up to the repository's root.
    """
    inner = tmp_path / "backend"
    inner.mkdir()
    for file in files:
        (tmp_path / file).touch()

    found = manager_of(inner)

    assert found is not None
    assert (name, add) == (found.name, found.add.format("x"))
    (inner / ".git").mkdir()
    assert manager_of(inner) is None


def test_an_installed_project_is_read_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its package does not lie in the folder with its settings.
    """
    package = tmp_path / "site" / "elsewhere"
    package.mkdir(parents=True)
    (package / "celery.py").write_text("import os\nbroker_url = os.environ['A']\n")
    (package / "tasks.py").write_text("send.apply_async(queue='webhooks')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    found = look(Config(app="elsewhere"), tmp_path, environ, 60, lambda _: None)

    assert "KeyError: 'A'" in found.failure
    assert ["webhooks"] == [one.name for one in found.project.queues]
    assert ("A",) == found.project.servers[0].variables
