"""How an attribute of another package is replaced: only one that the table has."""

from types import ModuleType
from typing import Any

from task_server.worker.patches import PATCHES

#: What `patch` has replaced in this process.
applied: set[str] = set()


def patch(owner: Any, name: str, replacement: Any) -> None:
    """
    Replace the attribute *name* of *owner*: a module, a class or one object.

    Raises:
        LookupError: `PATCHES` has no such row.
    """
    target = next((each for each in _targets(owner, name) if each in PATCHES), None)
    if target is None:
        raise LookupError(f"{name} of {owner!r} is not in task_server.worker.patches.PATCHES")
    setattr(owner, name, replacement)
    applied.add(target)


def _targets(owner: Any, name: str) -> list[str]:
    """Return how `PATCHES` may name the attribute *name* of *owner*."""
    if isinstance(owner, ModuleType):
        return [f"{owner.__name__}:{name}"]
    kinds = (owner,) if isinstance(owner, type) else type(owner).__mro__
    return [f"{kind.__module__}:{kind.__qualname__}.{name}" for kind in kinds]
