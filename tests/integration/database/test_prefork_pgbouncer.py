"""Prefork children keep their connection to a real PgBouncer, which pools transactions."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
import pytest

from task_server.local.servers import identity
from task_server.local.servers.ports import free_port
from task_server.local.supervisor.process import SPAWN
from tests.integration.database.database_server import Server
from tests.integration.database.prefork_worker import PreforkWorker, database
from tests.support.require import Require
from tests.support.wait import until

INI = """
[databases]
postgres = host={folder} dbname=postgres user=tester

[pgbouncer]
listen_addr =
unix_socket_dir = {socket}
listen_port = {port}
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
logfile = {socket}/log
pidfile = {socket}/pid
"""


@pytest.fixture
def pooler(server: Server, require: Require, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return the socket's folder of a PgBouncer with two sessions in the mode of the test."""
    program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        require("pgbouncer", "it is not installed")
    folder = server.folder / f"pooler-{request.param}-{free_port()}"
    folder.mkdir()
    ini = folder / "ini"
    ini.write_text(
        INI.format(folder=server.folder, socket=folder, port=6432, mode=request.param, size=2)
    )
    # As PostgreSQL's user: it refuses root, too.
    who = identity.choose_user()
    identity.chown_tree(folder, who)
    become = (sys.executable, "-I", "-S", SPAWN, str(os.getpid()), "0", who.spec)
    process = subprocess.Popen([*become, program, "-q", str(ini)])
    settings = {"host": str(folder), "port": 6432, "user": "tester", "dbname": "postgres"}

    def answers() -> bool:
        with suppress(psycopg2.OperationalError), closing(psycopg2.connect(**settings)):
            return True
        assert process.poll() is None, (folder / "log").read_text()
        return False

    until(answers, "PgBouncer to answer")
    yield folder
    process.kill()
    process.wait()


@pytest.mark.parametrize("pooler", ["transaction", "session"], indirect=True)
def test_a_pooler_between(python: list[str], server: Server, redis_url: str, pooler: Path) -> None:
    """
    Tasks of two children run on its two sessions, transactions and time zone as ever.
    """
    alias = database(server, HOST=str(pooler), PORT="6432", TIME_ZONE="America/Chicago")
    # What Django's documentation asks for with a pooler of transactions.
    alias["DISABLE_SERVER_SIDE_CURSORS"] = True
    del alias["OPTIONS"]["application_name"]
    worker = PreforkWorker(python, redis_url, {"default": alias}, "-c", "2")
    source = (
        "from django.db import transaction\n"
        "with transaction.atomic():\n"
        "    ask('SELECT pg_sleep(0.02)')\n"
        "    result = [pid(), ask('SHOW TimeZone'), ask('SHOW search_path')]\n"
    )
    try:
        sent = [worker.send(source) for _ in range(60)]
        found = [result.get(timeout=180) for result in sent]
    finally:
        worker.close()

    assert {"America/Chicago"} == {zone for _, zone, _ in found}
    assert 1 == len({path for _, _, path in found})
    assert len({pid for pid, _, _ in found}) <= 2
