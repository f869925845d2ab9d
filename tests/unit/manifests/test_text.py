"""Objects as YAML: the same bytes each time, and the same objects when they are read."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from task_server.errors import ConfigError
from task_server.manifests import folder
from task_server.manifests.text import KUSTOMIZATION, WRITTEN, base, document, stream
from tests.unit.manifests.cases import FULL, config_of, objects_of

SCRIPT = "from task_server.__main__ import main; main()"


def test_the_stream_is_what_the_objects_are(tmp_path: Path) -> None:
    """
    Every object, in the same order, with nothing that only YAML's own tools understand.
    """
    found = list(objects_of(config_of(tmp_path, FULL)).values())

    text = stream(found)

    assert found == list(yaml.safe_load_all(text))
    assert "&id" not in text
    assert text.endswith("\n")


def test_the_same_settings_are_the_same_bytes(tmp_path: Path) -> None:
    """
    In another process, with another seed of its hashes, at another time.
    """
    (tmp_path / "task-server.toml").write_text(FULL)
    texts = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, "manifests", "kubernetes"],
            cwd=tmp_path,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert 1 == len(texts)
    assert stream(objects_of(config_of(tmp_path, FULL)).values()).encode() in texts


@pytest.mark.parametrize(
    "value", ["1e3", "0o17", "yes", "1:30", "0x1F", "", "~", "a: b", "#", "12"]
)
def test_a_text_is_a_text_to_every_reader(value: str) -> None:
    """
    YAML 1.1 and 1.2 take different words for numbers.
    """
    text = document({"a": value})

    assert {"a": value} == yaml.safe_load(text)
    assert text.partition(": ")[2][0] in "\"'"


def test_a_base_has_a_file_for_each_object_and_a_list_of_them(tmp_path: Path) -> None:
    """
    The files of one version and the next have the same names, to be compared.
    """
    found = objects_of(config_of(tmp_path, FULL))

    files = base(found.values())

    listed = yaml.safe_load(files.pop(KUSTOMIZATION))["resources"]
    assert sorted(files) == listed
    assert list(found.values()) == sorted(
        (yaml.safe_load(text) for text in files.values()), key=list(found.values()).index
    )
    assert {"configmap-parish.yaml", "job-parish-migrations.yaml"} <= set(files)
    assert all(text.startswith(f"{WRITTEN}\n") for text in files.values())


def test_a_folder_holds_what_was_written_last_and_files_of_others(tmp_path: Path) -> None:
    """
    What an earlier run wrote goes; what somebody else did stays; what is the same is not touched.
    """
    folder.write(
        tmp_path / "base", {"a.yaml": f"{WRITTEN}\na: 1\n", "b.yaml": f"{WRITTEN}\nb: 1\n"}
    )
    (tmp_path / "base" / "patch.yaml").write_text("mine: 1\n")
    before = (tmp_path / "base" / "b.yaml").stat()

    folder.write(
        tmp_path / "base", {"b.yaml": f"{WRITTEN}\nb: 1\n", "c.yaml": f"{WRITTEN}\nc: 1\n"}
    )

    assert {"b.yaml", "c.yaml", "patch.yaml"} == {one.name for one in (tmp_path / "base").iterdir()}
    after = (tmp_path / "base" / "b.yaml").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    """
    Their kustomization, say: nothing at all is written then.
    """
    own = tmp_path / KUSTOMIZATION
    own.write_text("resources: []\n")

    with pytest.raises(ConfigError, match=KUSTOMIZATION):
        folder.write(tmp_path, {KUSTOMIZATION: f"{WRITTEN}\n", "a.yaml": f"{WRITTEN}\n"})

    assert [own] == list(tmp_path.iterdir())
    assert "resources: []\n" == own.read_text()


def test_a_folder_that_is_a_file_is_one_error(tmp_path: Path) -> None:
    """
    With the path, and no traceback.
    """
    (tmp_path / "base").write_text("")

    with pytest.raises(ConfigError, match="cannot be used"):
        folder.write(tmp_path / "base", {"a.yaml": f"{WRITTEN}\n"})
