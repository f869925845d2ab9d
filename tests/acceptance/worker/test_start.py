"""What keeps a worker from its work is said at its start, with the right exit code and health."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from task_server import local
from tests.support.ports import own_port
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import EITHER, Worker

DJANGO_PROJECT = Path(__file__).parents[1] / "foreign"


@pytest.mark.parametrize("pool", EITHER)
def test_absent_mounts_are_named_at_once(
    pool: str, folder: Path, start: Callable[..., Worker]
) -> None:
    """
    Empty code and absent media are reported together, before Celery is loaded; exit 78.
    """
    (folder / "code").mkdir()
    worker = start(
        pool,
        code=folder / "code",
        environ={"DJANGO_MEDIA_ROOT": str(folder / "media")},
    )

    assert 78 == worker.wait(), worker.output()
    assert f"code: {folder}/code is empty" in worker.output()
    assert f"--volume /path/to/project:{folder}/code:ro" in worker.output()
    assert f"DJANGO_MEDIA_ROOT: {folder}/media does not exist" in worker.output()
    assert "celery" not in worker.output()
    assert not worker.verdict().alive


@pytest.mark.parametrize("pool", EITHER)
def test_media_that_cannot_be_written_is_named(pool: str, start: Callable[..., Worker]) -> None:
    """
    The line has this user, the owner and the mode; exit 78. (Not even root writes in /proc.)
    """
    worker = start(pool, environ={"DJANGO_MEDIA_ROOT": "/proc"})

    assert 78 == worker.wait(), worker.output()
    assert f"/proc is not writable by {os.geteuid()}:{os.getegid()}" in worker.output()
    assert "it belongs to 0:0, mode 0555" in worker.output()


@pytest.mark.parametrize("pool", EITHER)
@pytest.mark.parametrize(
    ("password", "words"),
    [("", "wants a password, and the URL has none"), (":wrong@", "refuses the user or the pass")],
)
def test_a_wrong_password_of_redis_ends_the_worker(
    pool: str, password: str, words: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    Stock Celery tries again for most of an hour; here it is one line, and exit 78.
    """
    broker.client.config_set("requirepass", "sesame")
    worker = start(pool, broker_url=broker.url.replace("//", f"//{password}"))

    assert 78 == worker.wait(), worker.output()
    assert 1 == worker.output().count(words)
    assert f"127.0.0.1:{broker.port}" in worker.output()
    assert "Trying again" not in worker.output()
    assert "wrong@" not in worker.output()
    assert not worker.verdict().alive


@pytest.mark.parametrize("pool", EITHER)
def test_a_wrong_password_of_the_result_backend_ends_the_worker(
    pool: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    The broker lets the worker in, and no result could be stored: one line, and exit 78.
    """
    broker.client.config_set("requirepass", "sesame")
    right, wrong = (broker.url.replace("//", f"//:{word}@") for word in ("sesame", "wrong"))
    worker = start(pool, broker_url=right, environ={"CELERY_RESULT_BACKEND": wrong})

    assert 78 == worker.wait(), worker.output()
    words = f"result_backend: Redis at 127.0.0.1:{broker.port} refuses the user or the password"
    assert 1 == worker.output().count(words)
    assert "ready." not in worker.output()


@pytest.mark.parametrize("pool", EITHER)
def test_an_absent_result_backend_is_named(
    pool: str, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    It is reported once, and the worker runs tasks; some have no result.
    """
    port = own_port()
    worker = start(pool, environ={"CELERY_RESULT_BACKEND": f"redis://127.0.0.1:{port}/0"})
    worker.hear("READY=1")
    send("work", 1)
    until(lambda: worker.ends()[1] == 1)

    assert 1 == worker.output().count(f"result_backend: nothing listens at 127.0.0.1:{port}")


@pytest.mark.parametrize("pool", EITHER)
def test_a_password_that_changes_later_ends_no_worker(
    pool: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    A worker that was ready waits for Redis to let it in again, and its health says why.
    """
    worker = start(pool)
    worker.hear("READY=1")
    broker.client.config_set("requirepass", "sesame")
    for kind in ("normal", "pubsub"):
        broker.client.client_kill_filter(_type=kind, skipme=True)

    verdict = until(lambda: "wants a password" in (v := worker.verdict()).reason and v)

    assert (True, False) == (verdict.alive, verdict.ready)
    broker.client.config_set("requirepass", "")
    until(lambda: worker.verdict().ready)
    assert worker.process.poll() is None


@pytest.mark.parametrize("pool", EITHER)
def test_an_unreachable_redis_is_named_once(
    pool: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    The worker names the address where no server listens, without the password, and waits; its
    health says the same.
    """
    broker.stop()
    worker = start(pool, broker_url=broker.url.replace("//", "//:sesame@"))
    words = f"nothing listens at 127.0.0.1:{broker.port} (connection refused)"
    verdict = until(lambda: words in (v := worker.verdict()).reason and v)
    # Until Celery has failed again.
    until(lambda: worker.output().count("Trying again") >= 2)

    assert (True, False) == (verdict.alive, verdict.ready)
    assert 1 == worker.output().count(words)
    assert "sesame" not in worker.output()
    broker.start()
    worker.hear("READY=1")


@pytest.fixture
def django(folder: Path, broker: Redis) -> dict[str, Any]:
    """Return the settings of a worker for a Django project."""
    environ = {"REDIS_URL": broker.url, "PGUSER": "postgres", "PGDATABASE": "postgres"}
    return {"app": "cl", "code": DJANGO_PROJECT, "environ": environ}


@pytest.mark.parametrize("pool", EITHER)
def test_an_absent_postgresql_is_named_until_it_is_there(
    pool: str, folder: Path, start: Callable[..., Worker], django: dict[str, Any]
) -> None:
    """
    A socket folder that is not mounted is reported once; the worker is alive, ready when it comes.
    """
    missing = folder / "sockets"
    django["environ"]["PGHOST"] = str(missing)
    worker = start(pool, **django)
    words = f"the folder {missing} does not exist; mount it there (--volume {missing}:{missing})"
    worker.hear("READY=1")

    verdict = worker.verdict()

    assert (True, False) == (verdict.alive, verdict.ready), verdict
    assert words in verdict.reason
    assert 1 == worker.output().count(words)
    missing.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(missing / ".s.PGSQL.5432"))
        listener.listen()
        until(lambda: worker.verdict().ready)


@pytest.fixture
def locked(session_postgres: local.Server) -> Iterator[str]:
    """Return the folder of a PostgreSQL that lets the user `locked` in with a password alone."""
    with closing(psycopg2.connect(session_postgres.client_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SHOW hba_file")
            rules = Path(cursor.fetchone()[0])
            before = rules.read_text()
            cursor.execute("DROP ROLE IF EXISTS locked")
            cursor.execute("CREATE ROLE locked LOGIN PASSWORD 'sesame'")
            try:
                rules.write_text(f"local all locked scram-sha-256\n{before}")
                cursor.execute("SELECT pg_reload_conf()")
                yield session_postgres.environ["PGHOST"]
            finally:
                rules.write_text(before)
                cursor.execute("SELECT pg_reload_conf()")
                cursor.execute("DROP ROLE locked")


@pytest.mark.parametrize("pool", EITHER)
def test_a_wrong_password_of_postgresql_ends_the_worker(
    pool: str, start: Callable[..., Worker], django: dict[str, Any], locked: str
) -> None:
    """
    Every task would fail, so the worker does not take any: one line, and exit 78.
    """
    django["environ"] |= {"PGHOST": locked, "PGUSER": "locked", "PGPASSWORD": "wrong"}
    worker = start(pool, **django)

    assert 78 == worker.wait(), worker.output()
    assert 1 == worker.output().count("refuses the user or the password; correct PASSWORD")
    assert "ready." not in worker.output()
    assert not worker.verdict().alive
