# ruff: noqa: PLC0415, S608
"""
Scenarios of `database_program`: COPY, and what else psycopg2 refuses under a wait callback.
"""

from typing import Any

import gevent

from __main__ import close, do, failures, query, say, settle, task, until_running


class Lines:
    """A file whose data is there at once, to read and to write."""

    def __init__(self, lines: int, *, fails: bool = False) -> None:
        self.left, self.fails, self.size, self.digest = lines, fails, 0, 0

    def read(self, size: int) -> str:
        if not self.left and self.fails:
            raise ValueError("no more")
        number = min(self.left, size // 20)
        self.left -= number
        return f"{'x' * 19}\n" * number

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)


def copy(sql: str, file: Any) -> int:
    """COPY with either driver, through Django's cursor; return the rows."""
    from django.db import connection

    with connection.cursor() as cursor:
        if not hasattr(cursor.cursor, "copy"):
            cursor.copy_expert(sql, file)
        elif "STDIN" in sql:
            with cursor.copy(sql) as writer:
                while data := file.read(8192):
                    writer.write(data)
        else:
            with cursor.copy(sql) as reader:
                for data in reader:
                    file.write(data)
        return int(cursor.rowcount)


class Endless:
    """A file that never ends, and takes its time."""

    def read(self, _: int) -> str:
        gevent.sleep(0.001)
        return "x\n"


def wrong() -> list[Any]:
    """What goes wrong with a COPY, and what then works."""
    from django.db import transaction

    seen: list[Any] = []
    do("CREATE TEMPORARY TABLE numbers (a int)")
    for sql, file in (
        ("COPY numbers FROM STDIN", Lines(10)),
        ("COPY nothing FROM STDIN", Lines(1)),
        ("COPY numbers FROM STDIN", Lines(0, fails=True)),
    ):
        try:
            copy(sql, file)
        except Exception as error:  # noqa: BLE001 whatever the driver says
            seen.append(f"{type(error).__name__} {getattr(error, 'pgcode', None)}")
    seen.append(query("SELECT 'usable'"))
    do("CREATE TEMPORARY TABLE undone (a text)")
    try:
        with transaction.atomic():
            copy("COPY undone FROM STDIN", Lines(5))
            print(1 // 0)
    except ZeroDivisionError:
        seen.append(query("SELECT count(*) FROM undone"))
    close()
    return seen


def copies(pool: Any) -> None:
    """Tasks that COPY much, while others run; then what goes wrong with it."""
    import time

    gaps, over = [0.0], []

    def tick() -> None:
        while not over:
            before = time.monotonic()
            gevent.sleep(0.001)
            gaps.append(time.monotonic() - before)

    def much(number: int) -> tuple[int, int, int]:
        table = f"much_{number}"
        try:
            do(f"CREATE TEMPORARY TABLE {table} (a text)")
            rows = copy(f"COPY {table} FROM STDIN", Lines(100_000))
            copy(f"COPY {table} TO STDOUT", out := Lines(0))
            return rows, query(f"SELECT count(*) FROM {table}"), out.size
        finally:
            close()

    ticker = gevent.spawn(tick)
    tasks = [gevent.spawn(much, number) for number in range(3)]
    lost = failures(tasks)
    over.append(True)
    ticker.join()

    def endless() -> None:
        try:
            do("CREATE TEMPORARY TABLE endless (a text)")
            copy("COPY endless FROM STDIN /*victim*/", Endless())
        finally:
            close()

    seen = gevent.spawn(wrong).get()
    victim = gevent.spawn(endless)
    until_running("victim", 1)
    victim.kill()
    settle(pool)
    until_running("victim", 0)
    settle(pool)
    say(
        failed=lost,
        found=[task.value for task in tasks],
        gap=max(gaps),
        wrong=seen,
        used=pool._limiter.used,
    )


def features(pool: Any) -> None:  # noqa: PLR0915 one feature after the other
    """What else of psycopg2 waits on its own: each as on a connection without a callback."""
    import io
    import select

    from django.db import connection, transaction
    from psycopg2 import extensions, extras

    def one() -> dict[str, Any]:  # noqa: PLR0915
        found: dict[str, Any] = {}
        connection.ensure_connection()
        raw = connection.connection
        do("CREATE TEMPORARY TABLE t (a int, b text)")
        with connection.cursor() as cursor:
            cursor.cursor.copy_from(io.StringIO("1;x\n2;-\n"), "t", sep=";", null="-")
            found["copy_from"] = cursor.rowcount
            cursor.cursor.copy_to(out := io.StringIO(), "t", columns=("b", "a"))
            found["copy_to"] = out.getvalue()
            cursor.cursor.copy_expert("COPY t TO STDOUT", binary := io.BytesIO())
            found["bytes"] = binary.getvalue().decode()
            cursor.execute("SELECT 1")
            found["rowcount"] = cursor.rowcount
        with raw.cursor(cursor_factory=extras.RealDictCursor) as plain:
            plain.execute("SELECT 1 AS one")
            found["dict"] = dict(plain.fetchone())
            plain.copy_expert("COPY t TO STDOUT", io.StringIO())
        with transaction.atomic():
            large = raw.lobject(0, "wb")
            found["written"] = large.write(b"0123456789" * 200_000)
            large.seek(5)
            large.close()
            again = raw.lobject(large.oid, "rb")
            found["sought"] = again.seek(-3, 2)
            found["read"] = again.read().decode()
            again.close()
            raw.lobject(large.oid, "n").unlink()
        try:
            raw.lobject()
        except Exception as error:  # noqa: BLE001 whatever it is
            found["outside"] = type(error).__name__
        with connection.cursor() as cursor:
            cursor.execute("LISTEN news")
        gevent.spawn(task, ("NOTIFY news, 'hello'; SELECT 1", "default")).join()
        select.select([raw], [], [], 10)
        raw.poll()
        found["heard"] = [notice.payload for notice in raw.notifies]
        raw.autocommit = False
        with raw.cursor("named", withhold=True) as named:
            named.itersize = 10
            named.execute("SELECT generate_series(1, 100)")
            found["named"] = sum(row[0] for row in named)
        raw.commit()
        raw.set_isolation_level(extensions.ISOLATION_LEVEL_SERIALIZABLE)
        found["level"] = query("SELECT current_setting('transaction_isolation')")
        raw.rollback()
        raw.set_session(readonly=True, autocommit=True)
        found["readonly"] = query("SELECT current_setting('default_transaction_read_only')")
        raw.set_client_encoding("LATIN1")
        found["encoding"] = query("SELECT current_setting('client_encoding')")
        raw.reset()
        raw.cancel()
        close()
        return found

    found = gevent.spawn(one).get()
    settle(pool)
    say(used=pool._limiter.used, **found)
