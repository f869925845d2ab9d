"""Which connection a task gets, in the prefork children of a real worker of Celery's."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.database.database_server import Server
from tests.integration.database.prefork_worker import PreforkWorker, database
from tests.support.wait import until

PID = "result = pid()"

#: A session that was reset behind its task.
RESET = "state = 'idle' AND query LIKE '%DISCARD%'"

Start = Callable[..., PreforkWorker]


@pytest.fixture
def start(python: list[str], server: Server, redis_url: str) -> Iterator[Start]:
    """Start a worker; DATABASES has one alias unless the test says otherwise."""
    workers: list[PreforkWorker] = []

    def start_worker(*arguments: str, databases: Any = None, **settings: Any) -> PreforkWorker:
        databases = databases or {"default": database(server)}
        workers.append(PreforkWorker(python, redis_url, databases, *arguments, **settings))
        return workers[-1]

    yield start_worker
    for worker in workers:
        worker.close()
    until(lambda: server.count() == 0, "the sessions to end")


def tell(server: Server, *statements: str) -> None:
    """Run *statements* as another client does."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def test_tasks_of_a_child_share_a_session(start: Start, server: Server) -> None:
    """
    200 tasks, one session; one that does not use the database leaves it alone.
    """
    worker = start()
    first = worker.run(PID)
    sent = [worker.send(PID) for _ in range(200)]
    worker.run("result = None")

    assert {first} == {result.get(timeout=60) for result in sent}
    assert 1 == server.count()


def test_a_child_asks_for_its_session_to_be_reset_once(start: Start, server: Server) -> None:
    """
    Behind a task there is a reset, not waited for; nothing is sent for one without a query.
    """
    worker = start()
    pid = worker.run(PID)
    until(lambda: server.count(RESET) == 1)
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT query_start FROM pg_stat_activity WHERE pid = %s", [pid])
        before = cursor.fetchone()
        worker.run("result = None")
        cursor.execute("SELECT query_start FROM pg_stat_activity WHERE pid = %s", [pid])

        assert before == cursor.fetchone()


def test_the_switch_off_is_celerys_own(start: Start, server: Server) -> None:
    """
    With a maximum age of 0 each task connects, and nothing stays open.
    """
    worker = start(kept={"max_age": 0})
    pids = {worker.run(PID) for _ in range(5)}
    until(lambda: server.count() == 0)

    assert 5 == len(pids)


def test_an_old_session_is_not_used_again(start: Start) -> None:
    """
    A connection ends with the first task after its maximum age.
    """
    worker = start(kept={"max_age": 0.2})
    first = worker.run(PID)

    worker.run("import time; time.sleep(0.3)")

    assert first != worker.run(PID)


def test_an_idle_child_gives_its_connection_back(start: Start, server: Server) -> None:
    """
    It waits for a task and closes; the next task connects, and so on.
    """
    worker = start(kept={"max_idle": 1})
    pids = set()
    for _ in range(2):
        pids.add(worker.run(PID))
        until(lambda: server.count() == 0, "the idle connection to be closed")

    assert 2 == len(pids)


def test_tasks_without_a_query_keep_nothing_open(start: Start, server: Server) -> None:
    """
    A child that is busy with other tasks closes what none of them uses.
    """
    worker = start(kept={"max_idle": 1})
    worker.run(PID)
    until(lambda: not worker.run("result = 1") or server.count() == 0, "the connection to close")

    assert 0 == server.count()


def test_each_alias_has_a_session(start: Start, server: Server) -> None:
    """
    Kept by themselves: a task that uses one of them leaves the other's alone.
    """
    other = database(server, OPTIONS={"application_name": "tasks", "connect_timeout": 30})
    worker = start(databases={"default": database(server), "other": other})
    both = "result = [pid(), pid('other')]"
    first = worker.run(both)

    assert first[0] != first[1]
    assert first[1] == worker.run("result = pid('other')")
    assert first == worker.run(both)
    assert 2 == server.count()


def test_assume_role_is_in_force_in_each_task(start: Start, server: Server) -> None:
    """
    What Django itself sets on a connection is set again after the reset.
    """
    tell(server, "DROP ROLE IF EXISTS assumed", "CREATE ROLE assumed")
    options = {"assume_role": "assumed"}
    alias = database(server, OPTIONS=options, TIME_ZONE="America/Chicago")
    worker = start(databases={"default": alias})
    source = "result = [pid(), ask('SELECT current_user'), ask('SHOW TimeZone')]"
    first = worker.run(source)
    worker.run("ask('RESET ROLE'); ask(\"SET TIME ZONE 'Asia/Tokyo'\")")

    assert ["assumed", "America/Chicago"] == first[1:]
    assert first == worker.run(source)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stop", "crash"])
def test_a_server_that_restarts_costs_no_task(
    start: Start, server: Server, how: signal.Signals
) -> None:
    """
    The next task gets a new connection.
    """
    worker = start()
    before = worker.run(PID)
    server.stop(how)
    server.start()

    assert before != worker.run(PID)


def test_a_server_that_does_not_answer_costs_no_task(start: Start, server: Server) -> None:
    """
    Its end cannot be seen, as behind a firewall that has forgotten the connection.
    """
    worker = start()
    pid = worker.run(PID)
    until(lambda: server.count(RESET) == 1)
    os.kill(pid, signal.SIGSTOP)
    try:
        # Idle for longer than a connection is trusted.
        worker.run("import time; time.sleep(5.1)")
        other = worker.run(PID)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert pid != other


def test_a_task_does_not_wait_for_the_reset(start: Start, server: Server) -> None:
    """
    A server that hangs behind a task's last query does not delay its end; the next task connects.
    """
    worker = start()
    ended = worker.run(
        "import os, signal, time; p = pid(); os.kill(p, signal.SIGSTOP); result = p",
        # Its end is reported at once, or the limit would end it.
        time_limit=4,
    )
    try:
        other = worker.run(PID)
    finally:
        os.kill(ended, signal.SIGCONT)

    assert ended != other


def test_a_new_password_is_for_new_connections(start: Start, server: Server) -> None:
    """
    A kept session goes on, as every session does.
    """
    hba = server.folder / "data" / "pg_hba.conf"
    rules = hba.read_text()
    hba.write_text("local all guarded scram-sha-256\n" + rules)
    try:
        tell(
            server,
            "SELECT pg_reload_conf()",
            "DROP ROLE IF EXISTS guarded",
            "CREATE ROLE guarded LOGIN PASSWORD 'first'",
        )
        guarded = database(server, USER="guarded", PASSWORD="first")
        worker = start(databases={"default": guarded})
        before = worker.run(PID)
        tell(server, "ALTER ROLE guarded PASSWORD 'second'")
        after = worker.run(PID)
        tell(server, f"SELECT pg_terminate_backend({before}, 10000)")
        with pytest.raises(Exception, match="authentication failed"):
            worker.run(PID)
    finally:
        hba.write_text(rules)

    assert before == after


def test_a_server_that_is_demoted_is_left(start: Start, server: Server) -> None:
    """
    When it reports that it cannot be written to any more, its session is not kept.
    """
    worker = start()
    before = worker.run(PID)
    read_only = "ALTER SYSTEM SET default_transaction_read_only = on"
    try:
        tell(server, read_only, "SELECT pg_reload_conf()")
        until(lambda: worker.run(PID) != before, "another session")
    finally:
        tell(
            server,
            "SET default_transaction_read_only = off",
            "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
        )


BREAKING = {
    "its socket shut down": (
        "import os, socket; pid(); number = os.dup(connection.connection.fileno())\n"
        "socket.socket(fileno=number).shutdown(2)"
    ),
    "its session ended": (
        "import contextlib\n"
        "with contextlib.suppress(Exception): ask('SELECT pg_terminate_backend(pg_backend_pid())')"
    ),
    "its descriptor closed": "pid(); import os; os.close(connection.connection.fileno())",
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_connection_that_a_task_broke_is_not_kept(start: Start, name: str) -> None:
    """
    The next task gets another one.
    """
    worker = start()
    before = worker.run(PID)
    worker.run(BREAKING[name])

    assert before != worker.run(PID)


def test_a_time_limit_in_a_query_costs_no_other_task(start: Start, server: Server) -> None:
    """
    Neither a soft one, after which the child goes on, nor a hard one, which ends it.
    """
    worker = start()
    with pytest.raises(Exception, match="SoftTimeLimitExceeded"):
        worker.run("ask('SELECT pg_sleep(3)')", soft_time_limit=1)
    before = worker.run(PID)
    with pytest.raises(Exception, match="TimeLimitExceeded"):
        worker.run("ask('SELECT pg_sleep(3)')", time_limit=1)
    after = worker.run(PID)
    until(lambda: server.count() == 1, "what was interrupted to end")

    assert before != after


def test_a_child_that_is_replaced_leaves_nothing_open(start: Start, server: Server) -> None:
    """
    With max-tasks-per-child each has a session of its own, which ends with it.
    """
    logged = len(server.log)
    worker = start("--max-tasks-per-child=2")
    # The reset of such a session takes a while: the child ends before the server answers.
    tables = "EXECUTE 'CREATE TEMPORARY TABLE left_' || number || ' (a text)'"
    many = f"DO $$ BEGIN FOR number IN 1..300 LOOP {tables}; END LOOP; END $$"
    slow = f"from django.db import connection\nconnection.cursor().execute({many!r})\n{PID}"
    pids = [worker.run(source) for _ in range(3) for source in (PID, slow)]
    until(lambda: server.count() <= 1, "the sessions of former children to end")

    assert 3 == len(set(pids))
    assert "client" not in server.log[logged:]


def test_a_worker_that_stops_leaves_nothing_open(start: Start, server: Server) -> None:
    """
    Its sessions end with it.
    """
    worker = start()
    worker.run(PID)

    assert 0 == worker.stop()
    until(lambda: server.count() == 0)


def test_what_the_parent_has_open_is_not_shared(start: Start, server: Server) -> None:
    """
    The project queried while it was imported; each child has a session of its own.
    """
    worker = start("-c", "2", environ={"TEST_PARENT": "1"})
    source = "import os, time; time.sleep(0.3); result = [os.getpid(), pid(), parent]"
    found = [one.get(timeout=60) for one in [worker.send(source) for _ in range(8)]]
    sessions = {(child, pid) for child, pid, _ in found}
    parents = {parent for _, _, parent in found}

    assert 2 == len(sessions)
    assert parents.isdisjoint(pid for _, pid in sessions)


FORK = """
import os

before = pid()
connection.close()  # it is kept now, and inherited
reading, writing = os.pipe()
child = os.fork()
if not child:
    try:
        os.write(writing, str(pid()).encode())
        connection.close()
        pid()
        connection.close()
    finally:
        os._exit(0)
os.waitpid(child, 0)
result = [before, int(os.read(reading, 100)), pid()]
"""


def test_a_process_that_a_task_forks_has_its_own(start: Start, server: Server) -> None:
    """
    It does not use the session that it inherits, nor ends it.
    """
    worker = start()
    before, forked, after = worker.run(FORK)

    assert before == after == worker.run(PID)
    assert before != forked
    until(lambda: server.count() == 1)


THREADS = """
import threading

found = [pid()]


def ask_and_close():
    found.append(pid())
    connection.close()


def ask_only():
    found.append(pid())


for target in [ask_and_close, ask_only] * 3:
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
found.append(pid())
result = found
"""


def test_threads_of_a_task_have_their_own(start: Start, server: Server) -> None:
    """
    They never get the task's session, and what they leave open ends.
    """
    worker = start()
    found = worker.run(THREADS)
    # Django's objects for a thread refer to each other.
    worker.run("import gc; gc.collect()")
    until(lambda: server.count() == 1, "the sessions of the threads to end")

    assert found[0] == found[-1] == worker.run(PID)
    assert found[0] not in found[1:-1]


@pytest.mark.parametrize(("age", "tables"), [(0, 0), (60, 1), (None, 1)])
def test_other_engines_follow_conn_max_age(
    start: Start, server: Server, tmp_path: Path, age: int | None, tables: int
) -> None:
    """
    A temporary table is there in the next task, as it is for the next request of a web server.
    """
    lite = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "db"),
        "CONN_MAX_AGE": age,
    }
    worker = start(databases={"default": database(server), "lite": lite})
    worker.run("ask('CREATE TEMPORARY TABLE mine (a int)', 'lite')")
    found = worker.run("result = ask('SELECT count(*) FROM sqlite_temp_master', 'lite')")

    assert tables == found


def test_a_project_without_postgresql_runs(start: Start, tmp_path: Path) -> None:
    """
    With SQLite alone there is nothing to keep.
    """
    lite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")}
    worker = start(databases={"default": lite})

    assert 1 == worker.run("result = ask('SELECT 1')")


def test_sessions_do_not_exceed_one_an_alias(start: Start, server: Server) -> None:
    """
    An alias whose parameters change from task to task keeps none of the former.
    """
    worker = start()
    source = "connection.settings_dict['OPTIONS']['connect_timeout'] = {}; result = pid()"
    pids = {worker.run(source.format(number)) for number in range(10, 15)}

    assert 5 == len(pids)
    assert 1 == server.count()


def test_a_password_that_changes_in_the_settings_costs_no_connect(start: Start) -> None:
    """
    Tokens that expire after some minutes open a session, and are none of its properties.
    """
    worker = start()
    source = "connection.settings_dict['PASSWORD'] = {!r}; result = pid()"

    assert worker.run(source.format("one")) == worker.run(source.format("two"))
