"""flake.lock is what `nix flake lock` would write for flake.nix."""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.nix.conftest import Evaluate


@pytest.fixture(scope="module")
def lock(root: Path) -> dict[str, Any]:
    return json.loads((root / "flake.lock").read_text())


@pytest.fixture(scope="module")
def inputs(evaluate: Evaluate) -> Mapping[str, Any]:
    return evaluate("(import ./flake.nix).inputs")


def test_the_lock_is_of_the_format_that_nix_writes(lock: dict[str, Any], root: Path) -> None:
    """
    Version 7, keys sorted, two spaces, a newline at the end: Nix would change nothing.
    """
    written = json.dumps(lock, indent=2, sort_keys=True) + "\n"

    assert lock["version"] == 7
    assert set(lock) == {"nodes", "root", "version"}
    assert written == (root / "flake.lock").read_text()


def test_every_node_is_locked_by_revision_and_hash(lock: dict[str, Any]) -> None:
    """
    An input is a GitHub repository at one commit, with the hash of its files.
    """
    nodes = {name: node for name, node in lock["nodes"].items() if name != lock["root"]}

    for name, node in nodes.items():
        locked = node["locked"]
        kind, _, digest = locked["narHash"].partition("-")
        assert locked["type"] == "github", name
        assert re.fullmatch("[0-9a-f]{40}", locked["rev"]), name
        assert kind == "sha256", name
        assert len(base64.b64decode(digest, validate=True)) == 32, name
        assert 1_700_000_000 < locked["lastModified"] < 2_000_000_000, name


def test_no_node_is_unreachable_and_none_is_missing(lock: dict[str, Any]) -> None:
    """
    From the root, the lock leads to every node that it has, and to no other.
    """
    nodes = lock["nodes"]
    reached: set[str] = set()
    waiting = [lock["root"]]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        for target in nodes[name].get("inputs", {}).values():
            if isinstance(target, str):
                waiting.append(target)
            else:
                waiting.append(_followed(lock, target))

    assert reached == set(nodes)


def test_the_inputs_of_the_flake_are_those_of_the_lock(
    lock: dict[str, Any], inputs: Mapping[str, Any]
) -> None:
    """
    Every input that flake.nix names is locked, from the same place, and nothing else is.
    """
    locked = lock["nodes"][lock["root"]]["inputs"]
    places = {name: _place(lock["nodes"][node]["original"]) for name, node in locked.items()}

    assert places == {name: one["url"] for name, one in inputs.items()}


def test_inputs_of_inputs_follow_as_the_flake_says(
    lock: dict[str, Any], inputs: Mapping[str, Any]
) -> None:
    """
    There is one nixpkgs, one pyproject.nix and one uv2nix, as `follows` asks.
    """
    locked = lock["nodes"][lock["root"]]["inputs"]
    follows = {
        name: {inner: [one["follows"]] for inner, one in declared["inputs"].items()}
        for name, declared in inputs.items()
        if "inputs" in declared
    }
    found = {
        name: lock["nodes"][node]["inputs"]
        for name, node in locked.items()
        if "inputs" in lock["nodes"][node]
    }

    assert found == follows


def _place(original: Mapping[str, str]) -> str:
    place = f"github:{original['owner']}/{original['repo']}"
    return f"{place}/{original['ref']}" if "ref" in original else place


def _followed(lock: dict[str, Any], path: list[str]) -> str:
    """Return the node that a path of input names leads to from the root."""
    node = lock["root"]
    for step in path:
        target = lock["nodes"][node]["inputs"][step]
        node = target if isinstance(target, str) else _followed(lock, target)
    return node
