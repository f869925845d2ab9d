"""What docs/how-to/kubernetes.md shows is taken, and becomes what it says."""

import re
from pathlib import Path

import pytest

from tests.unit.manifests.cases import IMAGE, config_of, objects_of, problems_of

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "kubernetes.md"

BLOCKS = re.findall(r"^ *```toml\n(.*?)^ *```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_is_a_configuration_that_works(block: str, tmp_path: Path) -> None:
    """
    Alone, or with the image that another one names.
    """
    text = block if "image =" in block else f"kubernetes.{IMAGE}\n{block}"
    if "[kubernetes]" in block and text != block:
        text = block.replace("[kubernetes]", f"[kubernetes]\n{IMAGE}")

    assert [] == problems_of(config_of(tmp_path, text))


def test_so_few_lines_become_so_many_objects(tmp_path: Path) -> None:
    """
    The numbers beside what other ways ask for.
    """
    (block,) = (one for one in BLOCKS if "network_policy" in one)
    lines, many = re.findall(
        r"are these (\d+) lines.*?become (\d+) objects", PAGE.read_text(), re.DOTALL
    )[0]

    assert int(lines) == len([line for line in block.splitlines() if line])
    assert int(many) == len(objects_of(config_of(tmp_path, block)))
