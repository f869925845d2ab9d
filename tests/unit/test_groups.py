"""Which tests pytest-xdist gives to one process."""

from pathlib import Path

import pytest

from tests.support.processes import group_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["tests/acceptance/docker/", "tests/integration/docket/"])
def test_the_tests_of_a_shared_server_stay_together(folder: str) -> None:
    """
    They are one group, whatever their file.
    """
    first, second = sorted(path.name for path in (ROOT / folder).glob("test_*.py"))[:2]

    assert folder == group_of(f"{folder}{first}::test_a")
    assert folder == group_of(f"{folder}{second}::test_b[x]")


def test_faults_with_rows_of_the_table_stay_together() -> None:
    """
    Those that add a row to the table are one group; a fault without rows is a group of its own.
    """
    texts = {path: path.read_text() for path in (ROOT / "tests/faults").glob("test_*.py")}
    rows = [path.name for path, text in texts.items() if "table: Table" in text]
    (other, *_) = (path.name for path, text in texts.items() if "Table" not in text)

    assert {"tests/faults/"} == {group_of(f"tests/faults/{name}::test_a") for name in rows}
    assert f"tests/faults/{other}::test_a" == group_of(f"tests/faults/{other}::test_a")


def test_a_fixture_of_a_module_keeps_its_file_together() -> None:
    """
    The fixture may be in the file, or in the conftest.py beside it.
    """
    own = "tests/integration/transport/test_celery.py"
    beside = "tests/integration/database/test_gevent_postgres.py"

    assert 'scope="module"' in (ROOT / own).read_text()
    assert 'scope="module"' in (ROOT / beside).with_name("conftest.py").read_text()
    assert [own, beside] == [group_of(f"{file}::test_a") for file in (own, beside)]


def test_any_other_test_is_a_group_of_its_own() -> None:
    """
    Two of one file may run in two processes.
    """
    one, two = (f"tests/unit/test_urls.py::test_{name}" for name in "ab")

    assert [one, two] == [group_of(one), group_of(two)]
