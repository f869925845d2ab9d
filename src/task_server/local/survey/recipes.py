"""
Set-ups that an app's name alone does not start: what they need said, and how they are recognised.

A project that is installed rather than checked out (pretix, Nautobot) is recognised by its own
settings file or variable; django-configurations and settings that a variable chooses by the
text of manage.py and of the app's file. Nothing is imported.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path

from task_server.local.survey.chosen_settings import chosen_settings
from task_server.local.survey.variables import parsed
from task_server.project.discovery import PLACES, SETTINGS_VARIABLE, settings_of

CONFIGURATION = "DJANGO_CONFIGURATION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """
    How one well-known project is started.

    Attributes:
        package: Its package; *app* its Celery app.

        variable: Names its settings, a file or a module; *files* are where they are
            otherwise, relative to the working folder or absolute, `~` allowed.

        setup: The function that reads them, if its app needs it called first.

        settings_module: The module that a worker needs if the app names none itself.

        note: What a person should know.
    """

    package: str
    app: str
    variable: str = ""
    files: tuple[str, ...] = ()
    setup: str = ""
    settings_module: str = ""
    note: str = ""


RECIPES = (
    Recipe(
        package="nautobot",
        app="nautobot.core.celery",
        variable="NAUTOBOT_CONFIG",
        files=("nautobot_config.py", "~/.nautobot/nautobot_config.py"),
        setup="nautobot:setup",
        note="Nautobot reads the file that NAUTOBOT_CONFIG names, or else ~/.nautobot/"
        "nautobot_config.py, as nautobot-server does: each worker's environment needs the same "
        "variable",
    ),
    Recipe(
        package="pretix",
        app="pretix.celery_app",
        variable="PRETIX_CONFIG_FILE",
        files=("pretix.cfg", "~/.pretix.cfg", "/etc/pretix/pretix.cfg"),
        note="pretix reads the file that PRETIX_CONFIG_FILE names, or else /etc/pretix/pretix.cfg, "
        "~/.pretix.cfg and ./pretix.cfg; it sends tasks to Celery only where that has a "
        "[celery] broker",
    ),
    Recipe(
        package="mayan",
        app="mayan",
        variable="MAYAN_SETTINGS_MODULE",
        settings_module="mayan.settings.production",
        note="Mayan's entry point turns MAYAN_SETTINGS_MODULE into DJANGO_SETTINGS_MODULE; without "
        "it, settings_module says the same",
    ),
    Recipe(
        package="weblate",
        app="weblate.utils",
        variable="WEBLATE_DATA_DIR",
        note="Weblate's settings are weblate.settings, which an installation makes of "
        "settings_example.py, or weblate.settings_docker in its image (DJANGO_SETTINGS_MODULE)",
    ),
)


def installed(here: Path, environ: Mapping[str, str]) -> Recipe | None:
    """Return the recipe of the project whose settings are named in *environ* or lie in *here*."""
    for one in RECIPES:
        named = one.variable in environ or any(
            (here / Path(file).expanduser()).is_file() for file in one.files
        )
        if named and _is_importable(one.package):
            return one
    return None


def of_app(app: str) -> Recipe | None:
    """Return the recipe of the project that *app* belongs to."""
    top = app.partition(":")[0].partition(".")[0]
    return next((one for one in RECIPES if one.package == top), None)


def _is_importable(package: str) -> bool:
    try:
        return PathFinder.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class Needs:
    """What a project needs said beside its app."""

    settings_module: str = ""
    settings_how: str = ""
    setup: str = ""
    notes: tuple[str, ...] = field(default=())


def needs(app: str, folder: Path, environ: Mapping[str, str]) -> Needs:
    """Return what the project of *app* needs, whose code lies in *folder*."""
    recipe = of_app(app)
    if recipe is not None:
        module = environ.get(SETTINGS_VARIABLE) or environ.get(recipe.variable, "")
        wanted = recipe.settings_module and (module or recipe.settings_module)
        how = f"{recipe.variable or SETTINGS_VARIABLE}, or its default" if wanted else ""
        return Needs(wanted, how, recipe.setup, (recipe.note,))
    file = app_file(app, folder)
    text = _read(file) if file else ""
    settings, how, notes = _settings(folder, environ, text)
    setup, more = _configurations(folder, environ, file, text)
    return Needs(settings, how, setup, (*notes, *more))


def app_file(app: str, folder: Path) -> Path | None:
    """Return the file that makes *app*, if it lies below *folder*."""
    module = app.partition(":")[0]
    base = folder.joinpath(*module.split("."))
    candidates = [base.with_suffix(".py"), *(base / place for place, _ in PLACES)]
    candidates.append(base / "__init__.py")
    return next((one for one in candidates if one.is_file()), None)


def _settings(
    folder: Path, environ: Mapping[str, str], text: str
) -> tuple[str, str, tuple[str, ...]]:
    """Return the settings module that the app's file, *text*, leaves open; why; and notes."""
    # A project without Django needs none.
    if SETTINGS_VARIABLE in text or "django" not in text:
        return "", "", ()
    if environ.get(SETTINGS_VARIABLE):
        return environ[SETTINGS_VARIABLE], SETTINGS_VARIABLE, ()
    manage = folder / "manage.py"
    plain = settings_of(manage)
    if len(plain) == 1:
        return plain[0], "manage.py", ()
    chosen = chosen_settings(manage, environ)
    if chosen is None:
        return "", "", ()
    by = " and ".join(chosen.variables)
    if chosen.module is None:
        return "", "", (f"manage.py chooses the settings by {by}, not set here: set it, or {_SAY}",)
    note = f"manage.py chooses the settings by {by}; elsewhere than here, {_SAY}"
    return chosen.module, f"manage.py, by {by}", (note,)


_SAY = "set TASK_SERVER_SETTINGS_MODULE, which wins over the file"


def _configurations(
    folder: Path, environ: Mapping[str, str], file: Path | None, text: str
) -> tuple[str, tuple[str, ...]]:
    """Return the function of django-configurations to call, and a note, if it is used."""
    manage = _read(folder / "manage.py")
    if "configurations" not in manage + text:
        return "", ()
    notes = []
    tree = parsed(folder / "manage.py")
    default = _default_of(tree, CONFIGURATION)
    if CONFIGURATION not in text and CONFIGURATION not in environ:
        name = default or "Production"
        where = file or "the app's file"
        notes.append(
            f"django-configurations needs {CONFIGURATION} in each worker's environment (export "
            f"{CONFIGURATION}={name}), or this line in {where}, before the app is made: "
            f'os.environ.setdefault("{CONFIGURATION}", "{name}")'
        )
    calls = "configurations.setup" in text or "importer.install" in text
    return ("" if calls else "configurations:setup"), tuple(notes)


def _default_of(tree: ast.Module | None, variable: str) -> str:
    for node in ast.walk(tree) if tree else ():
        match node:
            case ast.Call(
                func=ast.Attribute(attr="setdefault"),
                args=[ast.Constant(value=name), ast.Constant(value=str(value))],
            ) if name == variable:
                return value
    return ""


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            return opened.read(1_000_000)
    except OSError:
        return ""
