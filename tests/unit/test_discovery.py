"""Which app is found if none is named; nothing is imported for it."""

from pathlib import Path

import pytest

from task_server.config.model import Config
from task_server.errors import ConfigError
from task_server.project.discovery import discover, settings_of

APP = "from celery import Celery\n\napp = Celery('x')\nraise SystemExit('it was imported')\n"
MANAGE = 'import os\n\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "{}")\nraise SystemExit\n'


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def write(folder: Path, *files: str, text: str = APP) -> None:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_settings_of_manage_py_lead_to_the_package_around_them(here: Path) -> None:
    """
    CourtListener's layout, where a file of Celery's settings is called celery.py, too.
    """
    write(here, "manage.py", text=MANAGE.format("cl.settings"))
    write(here, "cl/__init__.py", "cl/celery.py", "other/__init__.py", "other/celery.py")
    write(here, "cl/settings/celery.py", text="CELERY_BROKER_URL = 'redis://db/0'")

    found = discover(Config(), here, {})

    assert ("cl", "manage.py (cl.settings)", None) == (found.app, found.how, found.code)


@pytest.mark.parametrize(
    ("settings", "file", "app"),
    [
        ("config.settings.local", "config/celery_app.py", "config.celery_app"),
        ("pretix.settings", "pretix/celery_app.py", "pretix.celery_app"),
        ("mayan.settings.production", "mayan/celery.py", "mayan"),
        ("nautobot.core.settings", "nautobot/core/celery/__init__.py", "nautobot.core"),
    ],
)
def test_the_layouts_that_people_have(settings: str, file: str, app: str, here: Path) -> None:
    """
    The nearest package around the settings that makes an app counts.
    """
    write(here, "manage.py", text=MANAGE.format(settings))
    write(here, file)

    assert app == discover(Config(), here, {}).app


def test_the_variable_wins_over_manage_py(here: Path) -> None:
    """
    manage.py itself only sets it where it is not set.
    """
    write(here, "manage.py", text=MANAGE.format("blue.settings"))
    write(here, "blue/celery.py", "green/celery.py")

    found = discover(Config(), here, {"DJANGO_SETTINGS_MODULE": "green.settings"})

    assert ("green", "DJANGO_SETTINGS_MODULE (green.settings)") == (found.app, found.how)


def test_the_only_package_is_found_without_manage_py(here: Path) -> None:
    """
    Its name does not matter; folders that are no package, and a celery.py without an app, do not.
    """
    write(here, "site1/__init__.py", "site1/celery.py", "notes/celery.py", ".venv/celery.py")
    write(here, "conf/__init__.py", "conf/celery.py", text="BROKER = 1")

    found = discover(Config(), here, {})

    assert ("site1", f"the only package of {here} with a Celery app") == (found.app, found.how)


def test_a_package_in_src_is_found_with_its_folder(here: Path) -> None:
    """
    Python does not search there, so it becomes `code`.
    """
    write(here, "src/site1/__init__.py", "src/site1/celery.py")

    found = discover(Config(), here, {})

    assert ("site1", str(here / "src")) == (found.app, found.code)


def test_the_code_of_an_image_is_found_from_anywhere(here: Path, tmp_path: Path) -> None:
    """
    An engine may start the container in another folder; PYTHONPATH names the code.
    """
    write(here, "cl/__init__.py", "cl/celery.py")

    found = discover(Config(), tmp_path / "elsewhere", {"PYTHONPATH": f"/absent:{here}"})

    assert ("cl", None) == (found.app, found.code)


def test_where_code_is_named_nothing_else_is_looked_at(here: Path, tmp_path: Path) -> None:
    """
    The setting `code` says where the project is.
    """
    write(here, "blue/__init__.py", "blue/celery.py")
    write(tmp_path / "code", "green/__init__.py", "green/celery.py")

    assert "green" == discover(Config(code=str(tmp_path / "code")), here, {}).app


def test_several_packages_are_listed_and_none_is_taken(here: Path) -> None:
    """
    The error names them, and how to name one.
    """
    for name in ("blue", "green"):
        write(here, f"{name}/__init__.py", f"{name}/celery.py")

    with pytest.raises(ConfigError) as caught:
        discover(Config(), here, {})

    assert f"app: {here} leads to 2: blue, green; name it" in str(caught.value)
    assert "TASK_SERVER_APP=blue" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "which is empty"),
        ({"README": ""}, "--app cl"),
        ({"manage.py": MANAGE.format("cl.settings")}, "names cl.settings, which no celery.py is"),
        ({"celery.py": APP}, "no Celery app was found"),
    ],
)
def test_where_there_is_none_the_error_says_how_to_name_it(
    files: dict[str, str], words: str, here: Path
) -> None:
    """
    Nothing stands in for the project: exit 78.
    """
    for name, text in files.items():
        write(here, name, text=text)

    with pytest.raises(ConfigError) as caught:
        discover(Config(), here, {})

    assert words in str(caught.value)
    assert 78 == caught.value.exit_code


@pytest.mark.parametrize(
    "text",
    [
        'os.environ["DJANGO_SETTINGS_MODULE"] = "cl.settings"',
        'environ.setdefault("DJANGO_SETTINGS_MODULE", "cl.settings")',
        'if "test" in argv:\n    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cl.settings")',
    ],
)
def test_ways_to_set_it_in_manage_py(text: str, here: Path) -> None:
    """
    By assignment or by default, at any depth.
    """
    write(here, "manage.py", text=text)

    assert ["cl.settings"] == settings_of(here / "manage.py")


@pytest.mark.parametrize(
    "text",
    ["def broken(", "\0", "(" * 10_000, 'x.setdefault("DJANGO_SETTINGS_MODULE", name)', "é" * 9],
    ids=["syntax", "nul", "deep", "computed", "letters"],
)
def test_a_manage_py_that_cannot_be_read_says_nothing(text: str, here: Path) -> None:
    """
    Python reports its errors when it is run.
    """
    write(here, "manage.py", text=text)
    write(here, "cl/__init__.py", "cl/celery.py")

    assert [] == settings_of(here / "manage.py")
    assert "cl" == discover(Config(), here, {}).app


@pytest.mark.parametrize(
    "module", ["x" * 300 + ".settings", "..", "a..b.settings", "/etc/passwd", "a\0b.settings", " "]
)
def test_a_name_that_no_file_can_have_is_not_found(module: str, here: Path) -> None:
    """
    Whatever the variable holds, the answer is a line.
    """
    write(here, "manage.py", text=MANAGE.format(module.replace("\0", "")))
    with pytest.raises(ConfigError) as caught:
        discover(Config(), here, {"DJANGO_SETTINGS_MODULE": module})

    assert "no Celery app was found" in str(caught.value)


def test_a_folder_that_cannot_be_read_is_said(here: Path) -> None:
    """
    Code of another user, in a container; here a name that is too long, which root cannot read.
    """
    with pytest.raises(ConfigError) as caught:
        discover(Config(code=str(here / ("x" * 300))), here, {})

    assert "which cannot be read (File name too long)" in str(caught.value)


def test_a_settings_module_of_a_path_leaves_the_folder_alone(here: Path) -> None:
    """
    What is no module's name is not looked for.
    """
    write(here, "manage.py", text=MANAGE.format("../cl.settings"))

    with pytest.raises(ConfigError):
        discover(Config(), here, {"DJANGO_SETTINGS_MODULE": "/etc/passwd"})
