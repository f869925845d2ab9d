"""Where the code of a project lies, as its import found it."""

import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

#: Our own folder, which is not installed either while we are developed.
_OURS = Path(__file__).resolve().parents[2]

#: Folders of installed packages, wherever they lie.
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def code_of(modules: Mapping[str, ModuleType]) -> tuple[str, ...]:
    """
    Return the folders of the top-level packages of *modules* that nobody installed, sorted.

    A module that is no package is a single file. Not Python's own modules, and not ours.

    Args:
        modules: By name, as sys.modules has them.
    """
    names = {name.partition(".")[0] for name in modules}
    found = {_place(modules.get(name)) for name in names} - {None}
    return tuple(sorted(str(place) for place in found if place is not None and _is_own(place)))


def _place(module: ModuleType | None) -> Path | None:
    """Return the folder of a package, or the file of a module; None for what has neither."""
    # Not by getattr: a lazy module would be loaded.
    facts = vars(module) if isinstance(module, ModuleType) else {}
    folders = list(facts.get("__path__", ()))
    place = folders[0] if folders else facts.get("__file__")
    if not isinstance(place, str):
        return None
    path = Path(place)
    return path if path.exists() and (folders or path.suffix == ".py") else None


def _is_own(place: Path) -> bool:
    if not _INSTALLED.isdisjoint(place.parts):
        return False
    standard = (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
    # Resolved as well: a virtual environment's interpreter is often a link.
    folders = [one for folder in (_OURS, *standard) for one in (folder, folder.resolve())]
    places = (place, place.resolve())
    return not any(one.is_relative_to(folder) for one in places for folder in folders)
