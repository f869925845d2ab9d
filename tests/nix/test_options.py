"""The options of the NixOS module are documented, and docs/ has what they say."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.nix.conftest import Evaluate

#: Options without a default: the first must be set, the second is computed.
REQUIRED = {"services.task-server.app", "services.task-server.configFile"}


@pytest.fixture(scope="module")
def options(evaluate: Evaluate) -> dict[str, dict[str, Any]]:
    """Return the options as they are declared, by name."""
    return {one["name"]: one for one in evaluate("import ./tests/nix/options.nix")}


@pytest.fixture(scope="module")
def documented(root: Path) -> dict[str, str]:
    """Return what docs/ says of each option, by name."""
    text = (root / "docs" / "nixos-options.md").read_text()
    _, *parts = re.split(r"^## `(.+)`$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_option_is_in_the_documentation_and_no_other(
    options: dict[str, dict[str, Any]], documented: dict[str, str]
) -> None:
    """
    The copy in docs/ is of the options that the module has.
    """
    assert "services.task-server.workers.<name>.settings.pool" in options
    assert sorted(options) == sorted(documented)


def test_the_documentation_says_what_the_options_say(
    options: dict[str, dict[str, Any]], documented: dict[str, str]
) -> None:
    """
    A description that changes is changed in docs/ as well.
    """
    outdated = [
        name
        for name, option in options.items()
        if option["description"].strip() not in documented[name]
    ]

    assert outdated == []


def test_an_option_has_all_that_a_reader_needs(options: dict[str, dict[str, Any]]) -> None:
    """
    Type, description and example, and a default unless it must be set.
    """
    lacking = {
        name: sorted(lacks)
        for name, option in options.items()
        if (
            lacks := {"type", "default", "example"}
            - set(option["has"])
            - ({"default"} if name in REQUIRED else set())
            - ({"example"} if "readOnly" in option["has"] else set())
        )
        or not option["description"]
    }

    assert lacking == {}
