"""The command that resets a session."""

import pytest

from task_server.worker.database.connection import PooledConnection
from task_server.worker.database.reset import DISCARD, Resets, is_time_zone


def pooled(server_zone: str | None, time_zone: str | None) -> PooledConnection:
    """Return a connection of which nothing else is known."""
    one = PooledConnection(None, None, None, None, -1, 0.0)  # type: ignore[arg-type]
    one.server_zone, one.time_zone = server_zone, time_zone
    return one


@pytest.mark.parametrize(("server", "django"), [("UTC", "UTC"), ("Etc/UTC", None), (None, None)])
def test_discard_all_where_it_undoes_no_time_zone(server: str | None, django: str | None) -> None:
    """
    The one statement that every server has.
    """
    assert DISCARD == Resets().command(pooled(server, django))


def test_the_time_zone_is_set_in_the_same_message() -> None:
    """
    It is the last statement of a reset that would undo it.
    """
    command = Resets().command(pooled("Etc/UTC", "UTC"))

    assert b"RESET ALL" in command
    assert command.endswith(b"; SET TimeZone TO 'UTC'")


def test_two_refusals_in_a_row_are_an_answer() -> None:
    """
    One may be a task's time limit on statements; an answer in between starts again.
    """
    resets, one = Resets(), pooled("Etc/UTC", "UTC")
    seen = []
    for is_good in (False, True, False, False, True):
        seen.append(resets.command(one) == DISCARD)
        resets.answered(one, is_good=is_good)

    assert [False, False, False, False, True] == seen
    assert DISCARD == resets.command(one)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UTC", True),
        ("America/Port-au-Prince", True),
        ("Etc/GMT+1", True),
        ("", False),
        ("UTC'; DROP TABLE courts; --", False),
        ("UTC\n", False),
        ("Zürich", False),
        (b"UTC", False),
        (None, False),
    ],
)
def test_names_that_can_be_put_into_a_command(name: object, *, expected: bool) -> None:
    """
    What is none of the time zone database's is left to Django.
    """
    assert expected == is_time_zone(name)
