"""
Where a project lies, and what manages its requirements; nothing is imported.

A repository may have its project in a folder below: `backend/manage.py`.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from task_server.config.model import Config
from task_server.errors import ConfigError, Problem
from task_server.local.survey.facts import Manager
from task_server.project.discovery import Found, search

#: How many folders below are searched, how deep, and what is no project's code.
_FOLDERS, _DEPTH = 2000, 3
_SKIPPED = frozenset({"node_modules", "site-packages", "dist-packages", "__pycache__", "docs"})

#: The file of each manager, and how it adds a package, the most telling first.
_MANAGERS = (
    ("uv", "uv.lock", "uv add {}"),
    ("poetry", "poetry.lock", "poetry add {}"),
    ("pdm", "pdm.lock", "pdm add {}"),
    ("pipenv", "Pipfile", "pipenv install {}"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A project's app, and the folder of its code relative to where the search began."""

    found: Found
    code: str


def locate(config: Config, here: Path, environ: Mapping[str, str]) -> Place:
    """
    Find the project's app in *here*, or else in a folder below.

    Raises:
        ConfigError: When there is none, or several; with the lines that name one.
    """
    if config.app:
        return Place(Found(config.app, ""), _relative(config.code, here))
    found = search(config, here, environ)
    if found is not None:
        return Place(found, _relative(config.code or found.code, here))
    below = [] if config.code else list(_below(config, here, environ))
    if len(below) == 1:
        return below[0]
    if below:
        raise _several(below)
    message = (
        f"no Celery app was found in {here} or {_DEPTH} folders below it; name it, and the folder "
        "of its code: task-server init --app cl --code backend"
    )
    raise ConfigError([Problem("app", message)], "this folder")


def _below(config: Config, here: Path, environ: Mapping[str, str]) -> Iterator[Place]:
    """Return the projects in the folders below *here*, without those inside another."""
    done: list[Path] = []
    for folder in _folders(here):
        if any(folder.is_relative_to(one) for one in done):
            continue
        if (folder / "__init__.py").exists():
            # A package is found from the folder that it lies in.
            continue
        inside = replace(config, code=str(folder))
        found = search(inside, folder, environ)
        if found is not None:
            done.append(folder)
            yield Place(found, _relative(str(folder), here))


def _folders(here: Path) -> Iterator[Path]:
    """Return the folders below *here*, breadth first, that may have a project."""
    waiting = [(here, 0)]
    seen = 0
    while waiting and seen < _FOLDERS:
        folder, depth = waiting.pop(0)
        try:
            children = sorted(one for one in folder.iterdir() if one.is_dir())
        except OSError:
            continue
        for child in children:
            if child.name.startswith(".") or child.name in _SKIPPED or child.is_symlink():
                continue
            if (child / "pyvenv.cfg").exists():
                continue
            seen += 1
            yield child
            if depth + 1 < _DEPTH:
                waiting.append((child, depth + 1))


def _several(places: list[Place]) -> ConfigError:
    lines = "".join(
        f"\n    task-server init --app {one.found.app} --code {one.code}" for one in places
    )
    message = f"there are {len(places)} projects in folders below this one; take one:{lines}"
    return ConfigError([Problem("app", message)], "this folder")


def _relative(code: str | None, here: Path) -> str:
    """Return the folder *code* as the file in *here* has it; empty for *here* itself."""
    if code is None:
        return ""
    path = Path(os.path.relpath(here / code, here))
    if path == Path():
        return ""
    # Elsewhere than below, its own name is the surer one.
    return code if ".." in path.parts else str(path)


def manager_of(folder: Path) -> Manager | None:
    """Return what manages the requirements of the project in *folder*, or above it."""
    for place in (folder, *folder.parents[:2]):
        for name, file, add in _MANAGERS:
            if (place / file).is_file():
                return Manager(name, file, add)
        requirements = _requirements(place)
        if requirements is not None:
            shown = str(requirements.relative_to(place))
            return Manager("pip", shown, f"echo {{}} >> {shown} && pip install -r {shown}")
        if (place / "pyproject.toml").is_file():
            return Manager("pip", "pyproject.toml", "pip install {}")
        if (place / ".git").exists():
            break
    return None


def _requirements(place: Path) -> Path | None:
    for name in ("requirements.txt", "requirements/base.txt", "requirements/production.txt"):
        if (place / name).is_file():
            return place / name
    return None
