"""The README's lines for people with a project, read from it and run: with pip, and with uv."""

import re
from pathlib import Path

import pytest

from tests.acceptance.walks import shop
from tests.acceptance.walks.conftest import EXTRAS, ROOT, Walk
from tests.support.wait import until

# Packages are downloaded, by pip without a cache.
pytestmark = pytest.mark.timeout(1200)

#: What the line of the installation names in place of a wheel.
SOURCE = "git+https://github.com/freelawproject/task-server"

#: More than these are not what was promised.
MOST = 6


def lines(tool: str) -> list[str]:
    """Return the commands of the block of the README whose text before it ends with *tool*."""
    section = (ROOT / "README.md").read_text().partition("## With your project\n")[2]
    section = section.partition("\n## ")[0]
    for text, block in re.findall(r"(.*?)```console\n(.*?)```", section, re.DOTALL):
        if f"with {tool}" in text:
            return [line.removeprefix("$ ") for line in block.splitlines()]
    raise AssertionError(f"no block for {tool} in the README")


def walked(walk: Walk, tool: str, wheel: Path, activate: str = "") -> list[str]:
    """Run all lines as they stand, but for the wheel; return what each printed."""
    found = lines(tool)
    assert len(found) <= MOST
    assert sum(f"task-server[{EXTRAS}] @ {SOURCE}" in line for line in found) == 1
    said, up = [], None
    for line in found:
        command = line.replace(SOURCE, wheel.as_uri())
        if command.endswith("task-server up"):
            up = walk.up(f"{command} --flower-port 0") if not activate else None
            up = up or walk.up(f"bash -c '{activate} && exec {command} --flower-port 0'")
            said.append(up.text)
            continue
        before = f"{activate} && " if activate and "venv" not in command else ""
        # Another terminal knows no variable: `call` joins what `up` runs here.
        said.append(walk.says(f"{before}{command}"))
    assert up is not None
    done = walk.folder / "done.txt"
    wanted = {"5 prefork", "5 gevent"}
    until(lambda: done.exists() and wanted == set(done.read_text().splitlines()), "both tasks")
    assert ["5", "5"] == said[-1].split()
    up.stop()
    return said


# With uv it is the same walk in a third of the time.
@pytest.mark.slow
def test_with_pip(bare_walk: Walk, wheel: Path) -> None:
    """
    A project with a requirements.txt, and Python: at most six lines to both workers.
    """
    shop.make(bare_walk.folder, shop.REDIS_URL + shop.SQLITE)
    (bare_walk.folder / "requirements.txt").write_text("django>=5.2,<5.3\n")

    said = walked(bare_walk, "pip", wheel, activate=". .venv/bin/activate")

    assert any("written: task-server.toml" in one for one in said)
    assert any("requirements: pip, by requirements.txt" in one for one in said)
    assert "django>=5.2,<5.3\n" == (bare_walk.folder / "requirements.txt").read_text()


def test_with_uv(bare_walk: Walk, wheel: Path) -> None:
    """
    A project with a pyproject.toml: its lock and environment are uv's.
    """
    shop.make(bare_walk.folder, shop.REDIS_URL + shop.SQLITE)
    (bare_walk.folder / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["django>=5.2,<5.3"]\n'
    )

    said = walked(bare_walk, "uv", wheel)

    assert any("requirements: uv, by uv.lock" in one for one in said)
    assert (bare_walk.folder / "uv.lock").exists()
