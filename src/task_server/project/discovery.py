"""
Discovery of the project's Celery app where none is named, as other tools do it.

First the settings that DJANGO_SETTINGS_MODULE, or else manage.py, names: their
package, or one around it, that makes a Celery app. Then the only package of the
folder that does. Reads files and imports none of them.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from task_server.config.model import Config
from task_server.errors import ConfigError, Problem

SETTINGS_VARIABLE = "DJANGO_SETTINGS_MODULE"

#: Where packages make their app, and what is added to the package's name to find it.
PLACES = (("celery.py", ""), ("celery/__init__.py", ""), ("celery_app.py", ".celery_app"))

#: Beside the settings of Celery, a file celery.py may define an app: it calls Celery, or a
#: class of the project's own.
_MAKES_APP = re.compile(r"\b\w*Celery\(")

#: Characters of a file that are read.
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """
    An app, and how it was found, for people.

    *code* is the folder it lies in if Python does not search it anyway, or None.
    """

    app: str
    how: str
    code: str | None = None


def discover(config: Config, here: Path, environ: Mapping[str, str]) -> Found:
    """
    Find the app of the project in the folder *here*, or in the one that `code` names.

    Raises:
        ConfigError: When there is none, or several; says how to name it.
    """
    found = search(config, here, environ)
    if found is None:
        raise _none(here, _folders(config, here, environ)[0])
    return found


def search(config: Config, here: Path, environ: Mapping[str, str]) -> Found | None:
    """
    Find the app as `discover` does; None where there is none.

    Raises:
        ConfigError: When there are several; says how to name one.
    """
    folders, known = _folders(config, here, environ)
    named = config.settings_module or environ.get(SETTINGS_VARIABLE)
    found = (named and _of_variable(named, folders)) or _of_manage(folders, here) or _only(folders)
    if found is None:
        return None
    app, how, folder = found
    by_itself = folder in (here, *known) or folder not in folders
    return Found(app, how, None if by_itself else str(folder))


def _folders(
    config: Config, here: Path, environ: Mapping[str, str]
) -> tuple[list[Path], list[Path]]:
    """Return the folders to search, and those of them that Python searches anyway."""
    if config.code is not None:
        return [Path(config.code)], [Path(config.code)]
    known = [Path(one) for one in environ.get("PYTHONPATH", "").split(":") if one]
    return [*dict.fromkeys([here, here / "src", *known])], known


def _of_variable(named: str, folders: list[Path]) -> tuple[str, str, Path] | None:
    """Return app, how and folder of the settings *named*, of the project or installed."""
    for folder in [*folders, *installed_in(named)]:
        app = _of_settings(named, folder)
        if app is not None:
            return app, f"{SETTINGS_VARIABLE} ({named})", folder
    return None


def _of_manage(folders: list[Path], here: Path) -> tuple[str, str, Path] | None:
    """Return app, how and folder of the first manage.py whose settings lead to an app."""
    for folder in folders:
        manage = folder / "manage.py"
        apps = {module: _of_settings(module, folder) for module in settings_of(manage)}
        names = sorted({app for app in apps.values() if app is not None})
        if len(names) > 1:
            raise _several(names, str(manage))
        if names:
            modules = ", ".join(module for module, app in apps.items() if app)
            shown = manage.relative_to(here) if here in manage.parents else manage
            return names[0], f"{shown} ({modules})", folder
    return None


def _only(folders: list[Path]) -> tuple[str, str, Path] | None:
    """Return app, how and folder of the package that alone in its folder makes an app."""
    for folder in folders:
        names = sorted(packages(folder))
        if len(names) > 1:
            raise _several(names, str(folder))
        if names:
            return names[0], f"the only package of {folder} with a Celery app", folder
    return None


def _none(here: Path, folders: list[Path]) -> ConfigError:
    states = {folder: _state(folder) for folder in folders}
    searched = " or ".join(f"{one}{state}" for one, state in states.items() if state is not None)
    hints = [
        f"; {folder / 'manage.py'} names {module}, which no celery.py is beside"
        for folder in folders
        for module in settings_of(folder / "manage.py")
    ]
    message = f"no Celery app was found in {searched or here}{''.join(hints)}"
    return _problem(f"{message}; {_cure('cl')}")


def settings_of(manage: Path) -> list[str]:
    """Return the settings modules that *manage*, a manage.py, sets; none if it cannot be read."""
    if not _is_file(manage):
        return []
    try:
        tree = ast.parse(_read(manage))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return list(dict.fromkeys(_set_in(tree)))


def _set_in(tree: ast.Module) -> Iterator[str]:
    """Return each text that is given to the variable, by `setdefault` or by assignment."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="setdefault"),
                args=[ast.Constant(value=name), ast.Constant(value=str(module))],
            ) if name == SETTINGS_VARIABLE:
                yield module
            case ast.Assign(
                targets=[ast.Subscript(slice=ast.Constant(value=name))],
                value=ast.Constant(value=str(module)),
            ) if name == SETTINGS_VARIABLE:
                yield module


def installed_in(module: str) -> Iterator[Path]:
    """Return the folder that Python finds the package of *module* in, without importing it."""
    try:
        spec = PathFinder.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return
    for place in (spec and spec.submodule_search_locations) or ():
        yield Path(place).parent


def _of_settings(module: str, folder: Path) -> str | None:
    """Return the app of the package, below *folder*, that the settings *module* is of."""
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    # The nearest first: config/settings/local.py, then config/.
    for length in range(len(parts) - 1, 0, -1):
        app = _app_in(folder.joinpath(*parts[:length]), ".".join(parts[:length]))
        if app is not None:
            return app
    return None


def packages(folder: Path) -> Iterator[str]:
    """Return the apps of the packages that lie in *folder*."""
    try:
        children = sorted(folder.iterdir())
    except OSError:
        return
    for child in children:
        if child.name.isidentifier() and _is_file(child / "__init__.py"):
            app = _app_in(child, child.name)
            if app is not None:
                yield app


def _app_in(package: Path, name: str) -> str | None:
    for file, suffix in PLACES:
        path = package / file
        if _is_file(path) and _MAKES_APP.search(_read(path)):
            return f"{name}{suffix}"
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # unreadable for this user, or a name too long


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST)
    except OSError:
        return ""


def _state(folder: Path) -> str | None:
    """Return what there is to say of *folder*; None where there is none."""
    try:
        return "" if any(folder.iterdir()) else ", which is empty"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f", which cannot be read ({error.strerror})"


def _several(names: list[str], where: str) -> ConfigError:
    return _problem(f"{where} leads to {len(names)}: {', '.join(names)}; {_cure(names[0])}")


def _cure(name: str) -> str:
    return (
        f"name it, as `celery --app` takes it: --app {name}, TASK_SERVER_APP={name}, or "
        f'app = "{name}" in task-server.toml'
    )


def _problem(message: str) -> ConfigError:
    return ConfigError([Problem("app", message)])
