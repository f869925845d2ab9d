"""
What a worker needs of the environment it runs in, checked before it starts.

The worker runs in the project's own environment, whose versions another lock
chose; a wrong one shows as an obscure failure in the middle of a task.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version

from task_server.config.pools import Pool
from task_server.errors import ConfigError, Problem

#: Package, the first version that is tested, the first that is not; as in pyproject.toml.
NEEDED: tuple[tuple[str, str, str | None], ...] = (
    ("celery", "5.6.2", "5.8"),
    ("kombu", "5.6.2", "5.8"),
    ("redis", "6.4", "9"),
    # Kombu's Redis transport imports it, and only the extra kombu[redis] brings it.
    ("packaging", "23", None),
)
FLOWER = ("flower", "2.0.1", None)
METRICS = ("prometheus-client", "0.20", None)
DJANGO = ("django", "5.2", None)


def check(pool: Pool, version_of: Callable[[str], str] = version) -> None:
    """
    Check the versions that a worker with *pool* needs.

    Args:
        version_of: Returns the version of a package, or raises PackageNotFoundError.

    Raises:
        ConfigError: With every package that is missing, too old or too new.
    """
    needed = [*NEEDED, pool.package] if pool.package else NEEDED
    _refuse([*_problems(needed, version_of), *_django(version_of)])


def check_flower(version_of: Callable[[str], str] = version) -> None:
    """
    Check the versions that Flower needs; its arguments and errors are those of `check`.

    Flower is in an extra of this package, for a worker has no use for it.
    """
    _refuse(list(_problems([*NEEDED, FLOWER], version_of)))


def check_beat(version_of: Callable[[str], str] = version) -> None:
    """Check the versions that beat needs; its arguments and errors are those of `check`."""
    _refuse([*_problems(NEEDED, version_of), *_django(version_of)])


def check_metrics(version_of: Callable[[str], str] = version) -> None:
    """Check the versions that metrics need; its arguments and errors are those of `check`."""
    _refuse([*_problems([*NEEDED, METRICS], version_of), *_django(version_of)])


def has_flower(version_of: Callable[[str], str] = version) -> bool:
    """Return whether Flower is installed, in whatever version."""
    return _has(FLOWER[0], version_of)


def has_metrics(version_of: Callable[[str], str] = version) -> bool:
    """Return whether what metrics need is installed, in whatever version."""
    return _has(METRICS[0], version_of)


def _has(package: str, version_of: Callable[[str], str]) -> bool:
    try:
        version_of(package)
    except PackageNotFoundError:
        return False
    return True


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ConfigError(problems, "the Python environment")


def _problems(
    needed: Iterable[tuple[str, str, str | None]], version_of: Callable[[str], str]
) -> Iterator[Problem]:
    for package, lowest, above in needed:
        wanted = f"{package}>={lowest}" + (f",<{above}" if above else "")
        try:
            found = version_of(package)
        except PackageNotFoundError:
            yield Problem(package, f"is not installed; add {wanted} to the project's dependencies")
            continue
        if _numbers(found) < _numbers(lowest):
            yield Problem(package, f"{found} is too old; the worker needs {wanted}")
        elif above is not None and _numbers(found) >= _numbers(above):
            yield Problem(package, f"{found} is not tested; the worker needs {wanted}")


def _django(version_of: Callable[[str], str]) -> Iterator[Problem]:
    # A project without Django is none of our business.
    try:
        found = version_of(DJANGO[0])
    except PackageNotFoundError:
        return
    if _numbers(found) < _numbers(DJANGO[1]):
        yield Problem(DJANGO[0], f"{found} is too old; the worker needs django>={DJANGO[1]}")


def _numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a release: 5.7.0rc1 counts as 5.7."""
    release = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in release.group().split(".")] if release else [0]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
