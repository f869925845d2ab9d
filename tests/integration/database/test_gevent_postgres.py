"""
PostgreSQL under gevent: the limit, and what a task may find on its connection.

Each test runs with psycopg2, and with psycopg 3 in an environment of its own
when TASK_SERVER_REQUIRE names it.
"""

from typing import Any

import pytest

from tests.integration.database.database_server import Launcher, Sampler, Server

LIMIT = 20


@pytest.mark.parametrize("reuse", [True, False])
def test_512_tasks_never_hold_more_than_the_limit(
    launch: Launcher,
    server: Server,
    reuse: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    """
    All of 512 tasks end, several at once are at work, and the server counts no more than allowed.

    15, or more where a machine stands still: the others are for when nothing moves.
    """
    with Sampler(server) as sampler:
        program = launch("flood", tasks=512, seconds=0.2, connections=LIMIT, reuse=reuse)
        found = program.hear()

    assert [] == found["failed"]
    assert 0 == found["used"]
    assert 2 <= sampler.most <= LIMIT
    assert "too many clients" not in server.log


def test_a_task_killed_in_a_query_leaves_its_slot(launch: Launcher) -> None:
    """
    The query ends on the server too, and the next tasks get their own answers.
    """
    found = launch("killed_in_query", connections=3).hear()

    assert {"still": 0, "answers": [0, 1, 2]} == found


def test_a_timeout_in_a_query_leaves_no_answer_behind(launch: Launcher) -> None:
    """
    A task that goes on after gevent.Timeout never reads the answer of the query before.
    """
    found = launch("timed_out", connections=3).hear()

    assert "timeout" == found["seen"][0]
    assert found["seen"][1] in ("InterfaceError", "OperationalError")
    assert "again" == found["seen"][2]
    assert 0 == found["still"]


def test_tasks_killed_while_they_connect_leave_their_slots(launch: Launcher) -> None:
    """
    However far the connect had come, its slot is free again.
    """
    found = launch("killed_in_connect", connections=4).hear()

    assert {"rounds": 5, "used": 0, "answer": [7]} == found


def test_a_refused_connect_is_an_operational_error_of_django(launch: Launcher) -> None:
    """
    Three times as many failures as slots leave all slots free.
    """
    program = launch("refused", connections=4, aliases=["default", "nowhere"])
    found = program.hear()

    assert ["django.db.utils"] * 12 == found["errors"]
    assert 0 == found["used"]
    assert [7] == found["answer"]


def test_no_task_sees_that_the_server_was_restarted_between(
    launch: Launcher, server: Server
) -> None:
    """
    Idle connections of the old server are all found and replaced.
    """
    program = launch("restarted", connections=5)
    before = program.hear()
    server.stop()
    server.start()
    program.say()

    assert {"before": [], "idle": 4} == before
    assert {"after": [], "used": 0} == program.hear()


def test_two_aliases_in_one_task_do_not_deadlock(launch: Launcher, server: Server) -> None:
    """
    80 tasks that each need two of 4 connections at once all end, within the limit.
    """
    with Sampler(server) as sampler:
        found = launch("two_aliases", connections=4, aliases=["default", "other"]).hear()

    assert {"failed": [], "used": 0} == found
    assert sampler.most <= 4


@pytest.mark.filterwarnings("ignore")
def test_a_connection_that_is_collected_releases_its_slot(launch: Launcher) -> None:
    """
    Greenlets that die without a close do not use the slots up.
    """
    found = launch("collected", connections=3).hear()

    assert {"failed": [], "used": 0, "answer": [7]} == found


def test_a_task_does_not_wait_without_end(launch: Launcher) -> None:
    """
    With no connection returned the waiting task gets an error that says what to do.
    """
    program = launch("all_held", connections=1, timeout=1.0)
    error = program.hear()["error"]

    assert "database_connections: all 1 connections were in use" in error
    assert "connection.close()" in error
    assert {"answer": [7]} == program.hear()


@pytest.mark.parametrize(
    "database",
    [
        {},
        {
            "OPTIONS": {
                "isolation_level": 3,
                "assume_role": "pg_monitor",
                "options": "-c search_path=public",
            },
            "TIME_ZONE": "Europe/Paris",
        },
    ],
    ids=["plain", "configured"],
)
def test_a_used_connection_is_like_a_new_one(launch: Launcher, database: dict[str, Any]) -> None:
    """
    Settings, role, temporary tables, locks and cursors of a task are gone for the next.
    """
    found = launch("like_new", connections=1, database=database).hear()

    assert found["same_session"]
    assert found["closed"]
    assert found["fresh"] == found["found"]
    assert found["autocommit"]
    assert "the cursor of another task" != found["reached"]


def test_a_worker_that_would_block_refuses_to_start(launch: Launcher) -> None:
    """
    Without the monkey-patch `install_pool` says what is wrong and what to do.
    """
    program = launch("unpatched", connections=LIMIT)
    error = program.hear()["error"]

    assert "pool: gevent has not patched socket, select, threading" in error
    assert "--pool=gevent" in error
    assert 78 == program.process.wait(10)


def test_fewer_connections_than_aliases_are_refused(launch: Launcher) -> None:
    """
    One task may need them all at once.
    """
    found = launch("findings", connections=1, aliases=["default", "other"]).hear()

    assert "database_connections: 1 is less than the 2 PostgreSQL aliases" in found["error"]


def test_conn_max_age_is_explained(launch: Launcher) -> None:
    """
    The finding names the alias.
    """
    found = launch("findings", connections=LIMIT, database={"CONN_MAX_AGE": 60}).hear()

    assert ["info: DATABASES['default']['CONN_MAX_AGE']"] == [
        finding.rsplit(": ", 2)[0] for finding in found["findings"]
    ]


@pytest.mark.parametrize("lock", ["log", "rlock", "lock", "semaphore"])
def test_a_lock_of_the_application_does_not_stop_the_tasks(
    launch: Launcher, server: Server, lock: str
) -> None:
    """
    60 tasks that query while they hold one lock all end, as without a limit, and within it.
    """
    with Sampler(server) as sampler:
        found = launch("locked", connections=LIMIT, tasks=60, lock=lock).hear()

    assert [] == found["failed"]
    assert 0 == found["used"]
    assert sampler.most <= LIMIT


def test_a_thread_that_ends_returns_its_connection(launch: Launcher) -> None:
    """
    A project's threads are greenlets that close nothing; the next ones need not wait for garbage.
    """
    found = launch("threads", connections=3, kind="thread").hear()

    assert {"failed": [], "used": 0, "answer": [7]} == found


def test_a_thread_that_does_not_use_its_connection_lends_it(launch: Launcher) -> None:
    """
    All connections are with threads of an executor: tasks get them, but for one with a state.
    """
    found = launch("executor", connections=3).hear()

    assert 1 == sum(table == "mine" for table, _ in found["found"])
    assert [True, True] == [has_none for table, has_none in found["found"] if table is None]
    assert [] == found["failed"]
    assert 0 == found["used"]


def test_connections_closed_in_the_middle_of_a_query_stop_no_other(launch: Launcher) -> None:
    """
    Each query fails, whichever of the two greenlets runs first, and its slot is free again.
    """
    found = launch("closed_meanwhile", connections=45, tasks=29).hear()

    assert {"failed": 29, "used": 0, "answer": [7]} == found


@pytest.mark.parametrize("python", ["psycopg3"], indirect=True)
def test_a_connection_closed_while_another_greenlet_listens_is_ended(launch: Launcher) -> None:
    """
    The listener fails, its slot is free again, and the worker lives.
    """
    found = launch("closed_while_it_listens", connections=3).hear()

    assert {"failed": 1, "used": 0, "answer": [7]} == found


def test_a_thread_of_the_system_stays_within_the_limit(launch: Launcher, server: Server) -> None:
    """
    Threads of gevent's pool get connections in their turn and return them.
    """
    with Sampler(server) as sampler:
        found = launch("threads", connections=3, kind="system").hear()

    assert {"failed": [], "used": 0, "answer": [7]} == found
    assert sampler.most <= 3


@pytest.mark.parametrize("instrument", ["before", "after"])
def test_opentelemetry_sees_each_query(launch: Launcher, instrument: str) -> None:
    """
    Twelve tasks on three connections make twelve spans, whenever the driver was instrumented.
    """
    found = launch("spans", connections=3, instrument=instrument).hear()

    assert {"failed": [], "spans": 12} == found


def test_a_proxy_around_the_connection_works(launch: Launcher) -> None:
    """
    What wraps `connect` sees each of twelve tasks connect, and its proxy is what they get.
    """
    found = launch("proxied", connections=3).hear()

    assert {"failed": [], "used": 0, "connects": 12, "cursors": True} == found


def test_copy_lets_others_run(launch: Launcher) -> None:
    """
    Three tasks copy 2 MB in and out at once; others run meanwhile, and errors leave all usable.
    """
    found = launch("copies", connections=4).hear()

    assert [] == found["failed"]
    assert [[100_000, 100_000, 2_000_000]] * 3 == found["found"]
    assert found["gap"] < 1.0
    assert ["InvalidTextRepresentation", "UndefinedTable"] == [
        word.split()[0] for word in found["wrong"][:2]
    ]
    assert ["usable", 0] == found["wrong"][3:]
    assert 0 == found["used"]


@pytest.mark.parametrize("python", ["psycopg2"], indirect=True)
def test_what_psycopg2_refuses_under_a_callback_works(launch: Launcher) -> None:
    """
    COPY, large objects, LISTEN, named cursors, and changes of the session.
    """
    found = launch("features", connections=4).hear()

    assert {
        "copy_from": 2,
        "copy_to": "x\t1\n\\N\t2\n",
        "bytes": "1\tx\n2\t\\N\n",
        "rowcount": 1,
        "dict": {"one": 1},
        "written": 2_000_000,
        "sought": 1_999_997,
        "read": "789",
        "outside": "ProgrammingError",
        "heard": ["hello"],
        "named": 5050,
        "level": "serializable",
        "readonly": "on",
        "encoding": "LATIN1",
        "used": 0,
    } == found


def test_a_log_in_the_database_is_explained(launch: Launcher) -> None:
    """
    A handler whose code asks the database is named, and no other.
    """
    found = launch("findings", connections=LIMIT, log=True).hear()

    assert ["info: LOGGING"] == [
        finding.partition(": the handler")[0] for finding in found["findings"]
    ]
    assert "ToDatabase seems to write to the database" in found["findings"][0]
