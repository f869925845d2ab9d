"""The run as a whole."""

from tests.support.lab.table import Table


def test_only_kombus_loses_messages(table: Table) -> None:
    """
    Of all faults of this run none lost a message of our transport, and some did of Kombu's.
    """
    assert 0 == table.total("atomic")[1]
    assert 0 < table.total("kombu")[1]
