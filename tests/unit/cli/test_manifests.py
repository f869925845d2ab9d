"""`task-server manifests kubernetes`, as it is called."""

import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from task_server.cli import cli
from task_server.errors import ConfigError
from tests.unit.manifests.cases import FULL


def called(*arguments: str) -> str:
    """Return what is printed; an error of ours is raised, as `main` catches it."""
    done = CliRunner().invoke(cli, ["manifests", "kubernetes", *arguments])
    if isinstance(done.exception, ConfigError):
        raise done.exception
    assert 0 == done.exit_code, done.output
    return done.stdout


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder of a project that uses everything."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task-server.toml").write_text(FULL)
    return tmp_path


def test_without_a_folder_everything_is_one_stream(folder: Path) -> None:
    """
    For `kubectl apply --filename -`; nothing is written.
    """
    kinds = [one["kind"] for one in yaml.safe_load_all(called())]

    assert {"Deployment", "Job", "ScaledObject"} <= set(kinds)
    assert ["task-server.toml"] == [path.name for path in folder.iterdir()]


def test_with_a_folder_it_is_a_base(folder: Path) -> None:
    """
    A second time, with another image, the same files hold what is new.
    """
    called("--output", "base")
    before = {path.name: path.read_text() for path in (folder / "base").iterdir()}

    called("--output", "base", "--image", "registry/parish:2")

    after = {path.name: path.read_text() for path in (folder / "base").iterdir()}
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert "deployment-parish-bulk-2.yaml" in changed
    assert "configmap-parish.yaml" not in changed


def test_what_is_wrong_ends_it_before_anything_is_written(folder: Path) -> None:
    """
    With the exit code of every wrong configuration.
    """
    (folder / "task-server.toml").write_text("[kubernetes]\nservices = ['flower']\n")

    with pytest.raises(ConfigError) as caught:
        called("--output", "base")

    assert 78 == caught.value.exit_code
    assert str(caught.value).startswith("2 problems in the deployment:")
    assert not (folder / "base").exists()


def test_without_yaml_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A worker's environment need not have it.
    """
    for name in list(sys.modules):
        if name.startswith("task_server.manifests"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "yaml", None)

    with pytest.raises(ConfigError, match=r"task-server\[manifests\]"):
        called()
