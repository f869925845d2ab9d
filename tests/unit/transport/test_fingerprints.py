"""The insides of Kombu that the transport builds on are those that were read."""

import json

import kombu
import pytest

from task_server.transport import versions
from tests.unit.transport.fingerprints import TABLE, fingerprints

READ = json.loads(TABLE.read_text())


def test_no_method_that_we_build_on_has_changed() -> None:
    """
    Each method of Kombu that the transport overrides or calls has the source that was read.
    """
    assert kombu.__version__ in READ, (
        f"Kombu {kombu.__version__} was not reviewed: compare its transport/redis.py with the last "
        "one, run the integration tests, then add the output of fingerprints.py to the table"
    )

    known = READ[kombu.__version__]
    found = fingerprints()
    assert set() == {name for name in known | found if known.get(name) != found.get(name)}


@pytest.mark.parametrize("version", READ)
def test_the_versions_that_were_read_are_used(version: str) -> None:
    """
    A version in the table is one that the transport accepts.
    """
    assert versions.problem_of(version) is None
