"""The whole look at a project: located, imported or read, and what it needs."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from task_server.config.model import Config
from task_server.local.survey import ask, recipes
from task_server.local.survey.facts import Project, Queue, Survey
from task_server.local.survey.folder import Place, locate, manager_of
from task_server.local.survey.variables import Settings
from task_server.project.discovery import Found, installed_in, settings_of


def look(
    config: Config,
    here: Path,
    environ: Mapping[str, str],
    seconds: float,
    say: Callable[[str], None],
) -> Survey:
    """
    Look at the project in the folder *here*.

    Args:
        config: What is known already; a given `app` is not searched for.

        seconds: For how long its import may stand still.

        say: Called with what takes time, before it does.

    Raises:
        ConfigError: When there is no app, or more than one.
    """
    place = _located(config, here, environ)
    folder = here / place.code
    found = place.found
    needs = recipes.needs(found.app, folder, environ)
    module = config.settings_module or needs.settings_module
    chosen = replace(
        config,
        app=found.app,
        code=str(folder) if place.code else None,
        settings_module=module or None,
        setup=config.setup or needs.setup or None,
    )
    say(f"importing {found.app}")
    answer = ask.imported(chosen, here, environ, seconds)
    source = _source(found.app, folder)
    settings = _settings(found.app, source, module, answer, environ)
    failure = ""
    if isinstance(answer, Project):
        project = ask.with_variables(answer, settings)
    else:
        failure = answer.error
        inside = source / found.app.partition(":")[0].partition(".")[0]
        project = ask.read(folder if source == folder else inside, settings)
    return Survey(
        app=found.app,
        how=found.how,
        code=place.code,
        settings_module=module,
        settings_how=needs.settings_how or "you",
        setup=config.setup or needs.setup,
        notes=needs.notes,
        manager=manager_of(folder),
        project=_relative(project, here),
        failure=failure,
        installed=frozenset(one for one in ("gevent", "flower") if _is_installed(one)),
    )


def _located(config: Config, here: Path, environ: Mapping[str, str]) -> Place:
    recipe = None if config.app else recipes.installed(here, environ)
    if recipe is not None:
        how = f"the settings of {recipe.package} ({recipe.variable})"
        return Place(Found(recipe.app, how), "")
    return locate(config, here, environ)


def _source(app: str, folder: Path) -> Path:
    """Return the folder that the package of *app* lies in: *folder*, or where it is installed."""
    if recipes.app_file(app, folder) is not None:
        return folder
    return next(installed_in(app), folder)


def _settings(
    app: str, folder: Path, module: str, answer: object, environ: Mapping[str, str]
) -> Settings:
    """Return the text of the settings of *app*, the package's own file of the app first."""
    name = module or (answer.settings if isinstance(answer, Project) else "")
    name = name or environ.get("DJANGO_SETTINGS_MODULE", "") or _named_in(app, folder)
    files = []
    own = recipes.app_file(app, folder)
    if own is not None:
        files.append(own)
    if name:
        base = folder.joinpath(*name.split("."))
        # config/settings/production.py follows config/settings/base.py.
        shared = base.parent / "base.py"
        files += [shared] if shared.is_file() else []
        files += [base.with_suffix(".py")] if base.with_suffix(".py").is_file() else []
        files += sorted(base.glob("*.py")) if base.is_dir() else []
    return Settings(dict.fromkeys(files))


def _named_in(app: str, folder: Path) -> str:
    """Return the settings module that manage.py or the file of *app* sets by default."""
    files = [recipes.app_file(app, folder), folder / "manage.py"]
    return next((name for one in files if one for name in settings_of(one)), "")


def _relative(project: Project, here: Path) -> Project:
    """Return *project* with files below *here* named from there."""
    start = f"{here}/"

    def shorter(queues: tuple[Queue, ...]) -> tuple[Queue, ...]:
        return tuple(replace(one, by=one.by.removeprefix(start)) for one in queues)

    return replace(project, queues=shorter(project.queues), perhaps=shorter(project.perhaps))


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
