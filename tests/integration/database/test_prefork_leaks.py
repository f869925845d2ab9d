"""
What one task leaves in its session, the next one does not find: in a prefork child of Celery's.
"""

from collections.abc import Iterator
from contextlib import closing
from textwrap import dedent

import pytest

from tests.integration.database.database_server import Server
from tests.integration.database.prefork_worker import PreforkWorker, database

LEAKS = {
    # What a task says, and what another one would notice of it.
    "search_path": ("SET search_path TO pg_catalog", "SHOW search_path"),
    "statement_timeout": ("SET statement_timeout = 54321", "SHOW statement_timeout"),
    "lock_timeout": ("SET lock_timeout = 54321", "SHOW lock_timeout"),
    "role": ("SET ROLE other", "SELECT current_user"),
    "session authorization": ("SET SESSION AUTHORIZATION other", "SELECT session_user"),
    "advisory lock": (
        "SELECT pg_advisory_lock(7)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
    ),
    "temporary table": (
        "CREATE TEMPORARY TABLE mine (a int)",
        "SELECT to_regclass('pg_temp.mine')::text",
    ),
    "LISTEN": ("LISTEN news", "SELECT count(*) FROM pg_listening_channels()"),
    "PREPARE": ("PREPARE mine AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements"),
    "cursor": ("DECLARE mine CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors"),
    "time zone": ("SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone"),
    "read only": ("SET default_transaction_read_only = on", "SHOW transaction_read_only"),
    "isolation": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SHOW transaction_isolation",
    ),
    "application_name": ("SET application_name = 'mine'", "SHOW application_name"),
    "client_encoding": ("SET client_encoding = 'LATIN1'", "SHOW client_encoding"),
    "a project's own": ("SET kept.tenant = 'mine'", "SHOW kept.tenant"),
    "sequence": (
        "CREATE TEMPORARY SEQUENCE s; SELECT nextval('s')",
        "SELECT to_regclass('s')::text",
    ),
}

#: The same of what the driver and Django have of a session, in Python.
IN_PYTHON = {
    "autocommit": (
        """
        connection.set_autocommit(False)
        """,
        "connection.get_autocommit()",
    ),
    "open transaction": (
        """
        connection.set_autocommit(False)
        ask('CREATE TABLE never (a int)')
        """,
        "ask(\"SELECT to_regclass('never')::text\")",
    ),
    "unfinished atomic": (
        """
        from django.db import transaction
        left['left'] = transaction.atomic()
        left['left'].__enter__()
        transaction.on_commit(lambda: left.update(committed=1))
        pid()
        """,
        "[connection.in_atomic_block, connection.savepoint_ids, left.get('committed')]",
    ),
    "failed transaction": (
        """
        from django.db import transaction
        left['left'] = transaction.atomic()
        left['left'].__enter__()
        try: ask('no SQL')
        except Exception: pass
        """,
        "ask('SELECT 1')",
    ),
    "isolation of the driver": (
        """
        connection.ensure_connection()
        connection.connection.autocommit = False
        connection.connection.isolation_level = 4
        connection.connection.autocommit = True
        """,
        "str([connection.connection.isolation_level, ask('SHOW transaction_isolation')])",
    ),
    "server-side cursor": (
        """
        left['cursor'] = connection.chunked_cursor()
        left['cursor'].execute('SELECT generate_series(1, 1000)')
        left['cursor'].fetchone()
        """,
        "ask('SELECT count(*) FROM pg_cursors')",
    ),
    "cursor": (
        """
        pid()
        left['cursor'] = connection.connection.cursor()
        left['cursor'].execute('SELECT 1')
        """,
        "left['cursor'].closed or left['cursor'].connection.closed",
    ),
    "attribute": (
        """
        pid()
        connection.connection.mine = 1
        """,
        "hasattr(connection.connection, 'mine')",
    ),
    "text type": (
        """
        pid()
        kind = connection.connection
        if hasattr(kind, 'string_types'):
            import psycopg2.extensions as e
            e.register_type(e.new_type((23,), 'odd', lambda v, c: 99), kind)
        else:
            from psycopg.types.string import TextLoader
            kind.adapters.register_loader(23, TextLoader)
        """,
        "ask('SELECT 5::int')",
    ),
    "encoding of the driver": (
        """
        pid()
        kind = connection.connection
        if hasattr(kind, 'set_client_encoding'): kind.set_client_encoding('LATIN1')
        else: ask("SET client_encoding TO 'LATIN1'")
        """,
        "ask(\"SELECT 'ä€'\")",
    ),
    "prepared by the driver": (
        """
        pid()
        if hasattr(connection.connection, 'prepare_threshold'):
            connection.connection.prepare_threshold = 0
            for _ in range(3): connection.connection.execute('SELECT 7')
        """,
        "ask('SELECT count(*) FROM pg_prepared_statements')",
    ),
    "prepared transaction": (
        """
        pid()
        kind = connection.connection
        connection.set_autocommit(False)
        x = kind.xid(1, 'g', 'b')
        kind.tpc_begin(x)
        kind.tpc_rollback()
        """,
        "ask('SELECT 1')",
    ),
}


@pytest.fixture(scope="module", params=["America/Chicago", "UTC"])
def worker(
    python: list[str], server: Server, redis_url: str, request: pytest.FixtureRequest
) -> Iterator[PreforkWorker]:
    """Return a worker whose sessions have the server's time zone at first, or another one."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS other")
        cursor.execute("CREATE ROLE other")
    alias = database(server, TIME_ZONE=request.param, OPTIONS={"options": "-c TimeZone=UTC"})
    one = PreforkWorker(python, redis_url, {"default": alias})
    yield one
    one.close()


@pytest.mark.parametrize("name", LEAKS)
def test_sql_leaves_nothing(worker: PreforkWorker, name: str) -> None:
    """
    The next task has the same session, as good as new.
    """
    dirty, probe = LEAKS[name]
    clean = worker.run(f"result = [pid(), ask({probe!r})]")
    before = worker.run(f"ask({dirty!r}); result = pid()")
    changed = worker.run(f"ask({dirty!r}); result = ask({probe!r})")
    after = worker.run(f"result = [pid(), ask({probe!r})]")

    assert clean[0] == before
    assert clean == after
    assert clean[1] != changed


@pytest.mark.parametrize("name", IN_PYTHON)
def test_python_leaves_nothing(worker: PreforkWorker, name: str) -> None:
    """
    Neither does what the driver or Django has of the session; it may be a new one.
    """
    dirty, probe = IN_PYTHON[name]
    clean = worker.run(
        f"pid(); left['cursor'] = connection.cursor(); left['cursor'].close()\nresult = {probe}"
    )
    worker.run(dedent(dirty))
    after = worker.run(f"pid(); result = {probe}")
    worker.run("left.clear()")

    assert clean == after
