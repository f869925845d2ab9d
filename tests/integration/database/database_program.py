# ruff: noqa: PLC0415, ISC004, S608
"""
A stand-in for the worker: patched by gevent, Django set up, `install_pool`, then tasks.

    python database_program.py SCENARIO OPTIONS

OPTIONS is a JSON object. Each line of standard output is what a scenario
found, as JSON; some wait for a line of standard input.
"""

import sys

if "unpatched" not in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import gc
import importlib
import json
import logging
from typing import Any

import django
import gevent
import gevent.lock
from django.conf import settings
from gevent.event import Event
from gevent.fileobject import FileObject

from task_server.errors import ConfigError
from task_server.worker.database.install import install_pool

OPTIONS = json.loads(sys.argv[2])
STDIN = FileObject(sys.stdin, "r")


def database(**changes: Any) -> dict[str, Any]:
    options = {"application_name": "tasks", **changes.pop("OPTIONS", {})}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "tester",
        "HOST": OPTIONS["host"],
        "OPTIONS": options,
        **changes,
    }


def say(**found: Any) -> None:
    print(json.dumps(found), flush=True)


def query(sql: str = "SELECT 1", alias: str = "default") -> Any:
    from django.db import connections

    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def close() -> None:
    """Do what Celery does after each task."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        connection.close()


def task(*queries: tuple[str, str]) -> Any:
    try:
        return [query(sql, alias) for sql, alias in queries]
    finally:
        close()


def failures(greenlets: list[gevent.Greenlet]) -> list[str]:
    gevent.joinall(greenlets)
    return [repr(greenlet.exception) for greenlet in greenlets if not greenlet.successful()]


def do(sql: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)


def run(*queries: tuple[str, str]) -> Any:
    return gevent.spawn(task, *queries).get()


def settle(pool: Any) -> None:
    """Wait until the pool's own greenlets have nothing left to do."""
    with gevent.Timeout(20):
        while pool._limiter.used:
            gevent.sleep(0.01)


def running(marker: str) -> int:
    return int(
        run(
            (
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
                f"AND query LIKE '%%{marker}%%' AND pid <> pg_backend_pid()",
                "default",
            )
        )[0]
    )


def until_running(marker: str, number: int) -> None:
    with gevent.Timeout(20):
        while running(marker) != number:
            gevent.sleep(0.01)


def flood(pool: Any) -> None:
    """Many tasks that sleep in the server."""
    sql = f"SELECT pg_sleep({OPTIONS['seconds']})"
    lost = failures([gevent.spawn(task, (sql, "default")) for _ in range(OPTIONS["tasks"])])
    settle(pool)
    say(failed=lost, used=pool._limiter.used, open=pool._limiter.used + pool.idle)


def killed_in_query(pool: Any) -> None:
    """Tasks killed in the middle of a query, then others on the same pool."""
    limit = OPTIONS["connections"]
    victims = [gevent.spawn(task, ("SELECT pg_sleep(600) /*victim*/", "default"))]
    victims += [gevent.spawn(task, ("SELECT pg_sleep(600) /*victim*/", "default"))]
    until_running("victim", 2)
    with gevent.Timeout(20):
        gevent.killall(victims)
    settle(pool)
    say(
        still=running("victim"),
        answers=sorted(
            greenlet.get()[0]
            for greenlet in [gevent.spawn(task, (f"SELECT {n}", "default")) for n in range(limit)]
        ),
    )


def timed_out(pool: Any) -> None:
    """A task that catches the timeout of its query and asks again."""
    seen = []

    def patient() -> None:
        # Connecting may take longer than the query may.
        query("SELECT 'before'")
        try:
            with gevent.Timeout(0.2):
                query("SELECT 'late' FROM pg_sleep(600) /*victim*/")
        except gevent.Timeout:
            seen.append("timeout")
        try:
            seen.append(query("SELECT 'after'"))
        except django.db.Error as error:
            seen.append(type(error).__name__)
        close()
        seen.append(query("SELECT 'again'"))
        close()

    gevent.spawn(patient).get()
    settle(pool)
    say(seen=seen, still=running("victim"))


def killed_in_connect(pool: Any) -> None:
    """Tasks killed while they wait for their connection."""
    rounds = 0
    for pause in (0, 0.0005, 0.001, 0.002, 0.004):
        victims = [gevent.spawn(task, ("SELECT 1", "default")) for _ in range(30)]
        gevent.sleep(pause)
        gevent.killall(victims)
        settle(pool)
        rounds += 1
        while pool.idle:  # so that the next round connects again
            pooled = pool._idle.pop_oldest()
            pool._limiter.force_acquire()
            pool._close_and_release(pooled)
    say(rounds=rounds, used=pool._limiter.used, answer=run(("SELECT 7", "default")))


def refused(pool: Any) -> None:
    """Connects that fail."""
    errors = []
    for _ in range(OPTIONS["connections"] * 3):
        try:
            run(("SELECT 1", "nowhere"))
        except django.db.OperationalError as error:
            errors.append(type(error).__module__)
    say(errors=errors, used=pool._limiter.used, answer=run(("SELECT 7", "default")))


def restarted(pool: Any) -> None:
    """The server stops and starts while connections are idle."""
    queries = [("SELECT pg_sleep(0.05)", "default")]
    lost = failures([gevent.spawn(task, *queries) for _ in range(OPTIONS["connections"])])
    settle(pool)
    say(before=lost, idle=pool.idle)
    STDIN.readline()
    after = failures([gevent.spawn(task, *queries) for _ in range(60)])
    settle(pool)
    say(after=after, used=pool._limiter.used)


def two_aliases(pool: Any) -> None:
    """Tasks that hold one alias and ask for another, in both orders."""
    one, two = ("SELECT pg_sleep(0.02)", "default"), ("SELECT pg_sleep(0.02)", "other")
    greenlets = [gevent.spawn(task, one, two) for _ in range(40)]
    greenlets += [gevent.spawn(task, two, one) for _ in range(40)]
    lost = failures(greenlets)
    settle(pool)
    say(failed=lost, used=pool._limiter.used)


def collected(pool: Any) -> None:
    """Tasks that end without a close."""

    def careless() -> None:
        query()

    lost = failures([gevent.spawn(careless) for _ in range(OPTIONS["connections"] * 3)])
    gevent.sleep(0.1)
    gc.collect()
    settle(pool)
    say(failed=lost, used=pool._limiter.used, answer=run(("SELECT 7", "default")))


class ToDatabase(logging.Handler):
    """A handler that asks the database, by `query`, which calls `cursor()`."""

    def emit(self, _: logging.LogRecord) -> None:
        query()


def locked(pool: Any) -> None:
    """Tasks that query with a lock held, keep the connection, and want the lock again."""
    import threading
    import time

    log = logging.getLogger("locked")
    log.propagate = False
    log.setLevel("INFO")
    log.addHandler(ToDatabase())
    kinds = {"lock": threading.Lock, "semaphore": gevent.lock.Semaphore}
    lock: Any = kinds.get(OPTIONS["lock"], threading.RLock)()

    def say_it() -> None:
        if OPTIONS["lock"] == "log":
            log.info("something")
        else:
            with lock:
                query()

    def one() -> None:
        try:
            say_it()
            gevent.sleep(0.2)
            say_it()
        finally:
            close()

    started = time.monotonic()
    lost = failures([gevent.spawn(one) for _ in range(OPTIONS["tasks"])])
    settle(pool)
    say(failed=lost, used=pool._limiter.used, seconds=time.monotonic() - started)


def threads(pool: Any) -> None:
    """Threads that query and close nothing; those of the system close, as theirs must."""
    import threading

    lost: list[str] = []

    def one() -> None:
        try:
            query("SELECT pg_sleep(0.02)")
        except django.db.Error as error:
            lost.append(repr(error))

    if OPTIONS["kind"] == "thread":
        crew = [threading.Thread(target=one) for _ in range(12)]
        gc.disable()
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join(20)
    else:

        def closing() -> None:
            one()
            close()

        apart = gevent.get_hub().threadpool
        apart.maxsize = 12
        lost += failures([gevent.spawn(apart.apply, closing) for _ in range(24)])
    settle(pool)
    say(failed=lost, used=pool._limiter.used, answer=run(("SELECT 7", "default")))


def spans(pool: Any) -> None:
    """Tasks under OpenTelemetry's instrumentation of the driver, applied before and after."""
    from opentelemetry import trace

    for _ in range(2):
        lost = failures([gevent.spawn(task, ("SELECT 1 /*seen*/", "default")) for _ in range(6)])
        settle(pool)
    seen = [
        span.attributes["db.statement"]
        for span in EXPORTER.get_finished_spans()
        if "seen" in span.attributes["db.statement"]
    ]
    with trace.get_tracer("mine").start_as_current_span("outer"):
        pass
    say(failed=lost, spans=len(seen))


EXPORTER: Any = None


def instrument() -> None:
    global EXPORTER  # noqa: PLW0603 a program of one file
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    EXPORTER = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(provider)
    try:
        from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor as Instrumentor
    except ImportError:
        from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor as Instrumentor
    Instrumentor().instrument(skip_dep_check=True)


def proxied(pool: Any) -> None:
    """Tasks whose connections an instrumentation has put into proxies, as ddtrace does."""
    from django.db.backends.postgresql import base

    driver: Any = base.Database
    real, seen = driver.connect, []

    class Proxy:
        def __init__(self, wrapped: Any) -> None:
            self.__dict__["__wrapped__"] = wrapped

        def __getattr__(self, name: str) -> Any:
            return getattr(self.__wrapped__, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(self.__wrapped__, name, value)

        def cursor(self, *args: Any, **kwargs: Any) -> Any:
            seen.append("cursor")
            return self.__wrapped__.cursor(*args, **kwargs)

    def connect(*args: Any, **kwargs: Any) -> Any:
        seen.append("connect")
        return Proxy(real(*args, **kwargs))

    driver.connect = connect
    if pool._driver.name == "psycopg2":
        # Such an instrumentation takes the proxy off where psycopg2 checks the type.
        jsonb = driver.extras.register_default_jsonb
        driver.extras.register_default_jsonb = lambda conn_or_curs, **kwargs: jsonb(
            conn_or_curs=conn_or_curs.__wrapped__, **kwargs
        )
    lost = []
    for _ in range(2):
        lost += failures([gevent.spawn(task, ("SELECT 1", "default")) for _ in range(6)])
        settle(pool)
    say(
        failed=lost,
        used=pool._limiter.used,
        connects=seen.count("connect"),
        cursors="cursor" in seen,
    )


def executor(pool: Any) -> None:
    """Threads that go on living after they have queried; some have a state to keep."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    from django.db import connection

    idle = OPTIONS["connections"]
    crew, all_at_once = ThreadPoolExecutor(idle), Barrier(idle)

    def first(number: int) -> None:
        query("SELECT pg_sleep(0.05)")
        if number == 0:
            do("CREATE TEMPORARY TABLE mine AS SELECT 5 AS five")
        all_at_once.wait(20)

    for future in [crew.submit(first, number) for number in range(idle)]:
        future.result(20)
    lost = failures([gevent.spawn(task, ("SELECT 1", "default")) for _ in range(12)])
    found: list[Any] = []

    def second() -> None:
        has_none = connection.connection is None
        found.append((query("SELECT to_regclass('pg_temp.mine')::text"), has_none))
        all_at_once.wait(20)

    for future in [crew.submit(second) for _ in range(idle)]:
        future.result(20)
    crew.shutdown()
    settle(pool)
    say(failed=lost, found=sorted(found, key=str), used=pool._limiter.used)


def closed_meanwhile(pool: Any) -> None:
    """Connections that two greenlets share are closed by one while the other is in a query."""
    from django.db import connection

    number = OPTIONS["tasks"]
    all_run, asking = Event(), list[gevent.Greenlet]()

    def share() -> None:
        connection.inc_thread_sharing()
        connection.ensure_connection()
        mine = connection.connection

        def ask() -> None:
            with mine.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(600) /*victim*/")

        asking.append(gevent.spawn(ask))
        all_run.wait(20)
        close()

    sharing = [gevent.spawn(share) for _ in range(number)]
    until_running("victim", number)
    all_run.set()
    gevent.joinall(sharing)
    lost = failures(asking)
    settle(pool)
    say(failed=len(lost), used=pool._limiter.used, answer=run(("SELECT 7", "default")))


def closed_while_it_listens(pool: Any) -> None:
    """A connection of psycopg 3 is closed while another greenlet waits for notifications."""
    from django.db import connection

    def share() -> None:
        connection.inc_thread_sharing()
        do("LISTEN news")
        mine = connection.connection
        listening.append(gevent.spawn(lambda: list(mine.notifies())))
        gevent.sleep(0.05)  # it waits on the socket: no event says so
        close()

    listening: list[gevent.Greenlet] = []
    gevent.spawn(share).get()
    with gevent.Timeout(20):
        lost = failures(listening)
    settle(pool)
    say(failed=len(lost), used=pool._limiter.used, answer=run(("SELECT 7", "default")))


def all_held(pool: Any) -> None:
    """A task waits for a connection that is never returned."""
    holder = gevent.spawn(task, ("SELECT pg_sleep(600) /*holder*/", "default"))
    with gevent.Timeout(20):
        while pool._limiter.used == 0 or pool._limiter.limit != 1:
            gevent.sleep(0.01)
    try:
        run(("SELECT 1", "default"))
    except django.db.OperationalError as error:
        say(error=str(error))
    holder.kill()
    say(answer=run(("SELECT 7", "default")))


def like_new(pool: Any) -> None:
    """What one task leaves on its connection, and what the next one finds."""
    state = (
        "SELECT concat_ws(' ', current_setting('search_path'), current_setting('TimeZone'), "
        "current_setting('statement_timeout'), current_setting('transaction_isolation'), "
        "current_user, to_regclass('pg_temp.mine'), "
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), "
        "(SELECT count(*) FROM pg_cursors), (SELECT count(*) FROM pg_prepared_statements), "
        "(SELECT count(*) FROM pg_listening_channels()))"
    )
    stale = []

    def leave() -> tuple[int, bool]:
        from django.db import connection

        pid = query("SELECT pg_backend_pid()")
        with connection.cursor() as cursor:
            cursor.execute("SET search_path = pg_catalog")
            cursor.execute("SET TIME ZONE 'Asia/Tokyo'")
            cursor.execute("SET statement_timeout = '1h'")
            cursor.execute("CREATE TEMPORARY TABLE mine (x int)")
            cursor.execute("SELECT pg_advisory_lock(1)")
            cursor.execute("PREPARE p AS SELECT 1")
            cursor.execute("LISTEN news")
            cursor.execute("RESET ROLE")
        named = connection.chunked_cursor()
        named.execute("SELECT generate_series(1, 1000)")
        named.fetchone()
        stale.extend([named, connection.connection])
        connection.set_autocommit(False)
        connection.rollback()
        close()
        return pid, bool(stale[1].closed)

    def find() -> tuple[int, str, bool, str]:
        from django.db import connection

        found = query(state)
        try:
            stale[0].fetchone()
        except (django.db.Error, pool._driver.error.__mro__[2]) as error:
            reached = type(error).__name__
        else:
            reached = "the cursor of another task"
        pid = query("SELECT pg_backend_pid()")
        autocommit = connection.connection.autocommit
        stale[0].close()
        close()
        return pid, found, autocommit, reached

    fresh = run((state, "default"))[0]
    settle(pool)
    pid, closed = gevent.spawn(leave).get()
    settle(pool)
    again, found, autocommit, reached = gevent.spawn(find).get()
    say(
        same_session=pid == again,
        closed=closed,
        fresh=fresh,
        found=found,
        autocommit=autocommit,
        reached=reached,
    )


def trivial(pool: Any) -> None:
    """Many tasks of one trivial query each, 64 at a time; how long they take."""
    import time

    from gevent.pool import Pool

    crew, lost = Pool(64), 0

    def one() -> None:
        task(("SELECT 1", "default"))

    started, cpu = time.perf_counter(), time.process_time()
    greenlets = [crew.spawn(one) for _ in range(OPTIONS["tasks"])]
    lost = len(failures(greenlets))
    say(seconds=time.perf_counter() - started, cpu=time.process_time() - cpu, failed=lost)


def main() -> None:
    aliases = {
        "default": database(**OPTIONS.get("database", {})),
        "other": database(OPTIONS={"application_name": "tasks"}),
        "nowhere": database(HOST="/nonexistent"),
    }
    chosen = OPTIONS.get("aliases", ["default"])
    if OPTIONS.get("log"):
        logging.getLogger("locked").addHandler(ToDatabase())
    if OPTIONS.get("instrument") == "before":
        instrument()
    settings.configure(DATABASES={a: aliases[a] for a in chosen}, USE_TZ=True)
    django.setup()
    try:
        installed = install_pool(
            OPTIONS["connections"],
            timeout=OPTIONS.get("timeout", 60),
            max_age=1800.0 if OPTIONS.get("reuse", True) else 0.0,
        )
    except ConfigError as error:
        say(error=str(error))
        sys.exit(error.exit_code)
    if OPTIONS.get("instrument") == "after":
        instrument()
    if sys.argv[1] == "findings":
        say(findings=[str(finding) for finding in installed.findings])
    else:
        scenario = globals().get(sys.argv[1]) or getattr(
            importlib.import_module("copy_scenarios"), sys.argv[1]
        )
        scenario(installed.pool)


main()
