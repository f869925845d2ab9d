"""The versions of Kombu whose private methods this package knows."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

#: The first version that works, and the first one that has not been reviewed.
FIRST: Final = (5, 6, 2)
BEFORE: Final = (5, 8)


def problem() -> str | None:
    """Return why the installed Kombu cannot be used with this transport; None if it can."""
    try:
        installed = version("kombu")
    except PackageNotFoundError:
        return "kombu is not installed"
    return problem_of(installed)


def problem_of(installed: str) -> str | None:
    """Return why the version *installed*, such as '5.7.0', cannot be used; None if it can."""
    numbers = []
    for part in installed.split(".")[:3]:
        digits = "".join(character for character in part if character.isdigit())
        if digits != part:
            return f"kombu {installed} is not a release"
        numbers.append(int(digits))
    if FIRST <= tuple(numbers) < BEFORE:
        return None
    first, before = (".".join(map(str, limit)) for limit in (FIRST, BEFORE))
    return f"kombu {installed} is outside {first} <= version < {before}"
