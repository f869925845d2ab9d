"""The manage.py of a project."""

from pathlib import Path

from task_server.config.model import Config
from task_server.project.discovery import settings_of


def manage_of(config: Config, here: Path) -> Path | None:
    """
    Return the manage.py of the project of *config*, or None.

    It lies beside the project's packages: in `code`, here or in src. Where several do,
    the one whose settings are of the app's package is taken, if there is such a one.
    """
    folders = [Path(config.code)] if config.code is not None else []
    files = [folder / "manage.py" for folder in dict.fromkeys([*folders, here, here / "src"])]
    found = [file for file in files if file.is_file()]
    package = config.app.partition(":")[0].partition(".")[0]
    for file in found:
        if any(module.partition(".")[0] == package for module in settings_of(file)):
            return file
    return found[0] if found else None
