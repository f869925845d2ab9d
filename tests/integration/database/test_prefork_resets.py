"""What a prefork child of a real worker asks its session of PostgreSQL, beside what tasks ask."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.integration.database.database_server import Server
from tests.integration.database.prefork_worker import PreforkWorker, database
from tests.support.wait import until

PID = "result = pid()"

#: What the project's own receiver of `connection_created` says.
TENANT = "SET kept.tenant = 'ours'"

ASKED = "SELECT pg_backend_pid()"

Start = Callable[..., PreforkWorker]


@pytest.fixture
def start(python: list[str], server: Server, redis_url: str) -> Iterator[Start]:
    """Start a worker with the given DATABASES."""
    workers: list[PreforkWorker] = []

    def start_worker(**databases: Any) -> PreforkWorker:
        workers.append(PreforkWorker(python, redis_url, databases))
        return workers[-1]

    yield start_worker
    for worker in workers:
        worker.close()
    until(lambda: server.count() == 0, "the sessions to end")


def logged(server: Server, since: int) -> list[str]:
    """Return the statements that the server has logged."""
    return re.findall(r"LOG:  statement: (.*)", server.log[since:])


@pytest.mark.parametrize(
    ("zone", "is_joined"), [("UTC", False), ("Etc/UTC", True), ("Europe/Berlin", True)]
)
def test_a_task_of_one_query_asks_once(
    start: Start, server: Server, zone: str, *, is_joined: bool
) -> None:
    """
    Neither what the driver remembers, nor the server's time zone, costs a task a question.
    """

    def resets(since: int) -> int:
        return sum("DISCARD" in statement for statement in logged(server, since))

    options = {"options": f"-c log_statement=all -c TimeZone={zone}"}
    before = len(server.log)
    worker = start(default=database(server, OPTIONS=options))
    pid = worker.run(PID)
    # It is sent behind the task, whose result may be here first.
    until(lambda: resets(before) == 1, "the first reset")
    since = len(server.log)
    assert [pid, pid] == [worker.run(PID) for _ in range(2)]
    until(lambda: resets(since) == 2, "the last reset")
    found = logged(server, since)

    assert [TENANT, ASKED] * 2 == [one for one in found if "DISCARD" not in one]
    assert [is_joined] * 2 == [one != "DISCARD ALL" for one in found if "DISCARD" in one]


def test_aliases_of_the_same_parameters_have_their_time_zones(start: Start, server: Server) -> None:
    """
    With psycopg2 they share a session; Django has a time zone for each.
    """
    zones = {"default": "America/Chicago", "tokyo": "Asia/Tokyo", "utc": "UTC"}
    worker = start(**{alias: database(server, TIME_ZONE=zone) for alias, zone in zones.items()})
    order = ["default", "tokyo", "utc", "utc", "tokyo", "tokyo", "default"]
    source = "result = [pid({0!r}), ask('SHOW TimeZone', {0!r})]"
    found = [worker.run(source.format(alias)) for alias in order]

    assert [zones[alias] for alias in order] == [zone for _, zone in found]
    assert len({pid for pid, _ in found}) in {1, len(zones)}


def test_a_server_that_refuses_a_statement_is_told_discard_all(
    start: Start, server: Server
) -> None:
    """
    No task fails, and after the second refusal the session is kept.
    """
    function = "EXECUTE ON FUNCTION pg_advisory_unlock_all()"
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS poor")
        cursor.execute("CREATE ROLE poor LOGIN")
        cursor.execute(f"REVOKE {function} FROM PUBLIC")
        try:
            worker = start(default=database(server, USER="poor", TIME_ZONE="America/Chicago"))
            source = "result = [pid(), ask('SHOW TimeZone')]"
            found = [worker.run(source) for _ in range(6)]
        finally:
            cursor.execute(f"GRANT {function} TO PUBLIC")

    assert {"America/Chicago"} == {zone for _, zone in found}
    pids = [pid for pid, _ in found]
    assert 3 == len(set(pids))
    assert 1 == len(set(pids[2:]))
