"""Beat with django-celery-beat: the schedule is rows, which change while it runs."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from task_server.errors import LocalServerError
from tests.support.beat import Beat
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.wait import until

SETTINGS = """
import os

SECRET_KEY = "x"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_celery_beat"]
DATABASES = {"default": DATABASE}
CELERY_BROKER_URL = os.environ["PERIODIC_BROKER"]
CELERY_BEAT_SCHEDULE = {
    "settings": {"task": "rows.tick", "schedule": 1.0, "options": {"queue": "settings"}},
}
"""

SQLITE = """
DATABASE = {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["ROWS_FILE"]}
"""

POSTGRES = """
from urllib.parse import parse_qs, unquote, urlsplit

_url = urlsplit(os.environ["DATABASE_URL"])
_named = {key: values[-1] for key, values in parse_qs(_url.query).items()}
DATABASE = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": _url.path.lstrip("/"),
    "USER": unquote(_url.username or ""),
    "PASSWORD": unquote(_url.password or ""),
    "HOST": unquote(_named.get("host", _url.hostname or "")),
    "PORT": _named.get("port", str(_url.port or "")),
}
"""

CELERY = """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rows.settings")
app = Celery("rows")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task(name="rows.tick")
def tick():
    pass
"""

#: Before what a test changes in the database, as a page of the project's would.
DJANGO = """
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "rows.settings"
import django

django.setup()
from django.db import transaction
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

second, _ = IntervalSchedule.objects.get_or_create(every=1, period="seconds")


def add(name, **more):
    PeriodicTask.objects.create(
        **{"name": name, "task": "rows.tick", "interval": second, "queue": name, **more}
    )


"""


@dataclass
class Rows:
    """A project whose schedule is in the database, the Redis of its broker, and its variables."""

    code: Path
    server: Redis
    environ: Mapping[str, str]
    postgres: Postgres | None = None

    def run(self, *words: str) -> str:
        """Run Python in the project; return what it prints."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.code,
            env={**os.environ, **self.environ, "PERIODIC_BROKER": self.server.url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout

    def change(self, code: str) -> str:
        """Change the database in one transaction, from a process of the project."""
        body = textwrap.indent(textwrap.dedent(code), "    ")
        return self.run("-c", f"{DJANGO}with transaction.atomic():\n{body}")

    def migrate(self) -> None:
        self.run("-m", "django", "migrate", "--verbosity", "0", "--settings", "rows.settings")

    def beat(self, name: str = "one") -> Beat:
        """Start beat, which looks at the database each second."""
        return Beat(
            self.code,
            self.server.url,
            name,
            app="rows",
            environ=self.environ,
            settings={"max_interval": 1},
        )

    def count(self, queue: str) -> int:
        """Return how many messages wait in *queue*."""
        return int(self.server.client.llen(queue))  # type: ignore[arg-type]

    def sent(self, queue: str, more: int = 1) -> int:
        """Wait until *more* messages of *queue* are sent than now; return how many there are."""
        goal = self.count(queue) + more
        until(lambda: self.count(queue) >= goal, f"{more} in {queue}")
        return self.count(queue)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def rows(request: pytest.FixtureRequest, tmp_path: Path, server: Redis, require) -> Iterator[Rows]:
    """Return the project, on each kind of database; nothing is migrated yet."""
    code = tmp_path / "code"
    package = code / "rows"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from rows.celery import app\n")
    (package / "celery.py").write_text(CELERY)
    if request.param == "sqlite":
        (package / "settings.py").write_text(f"import os\n{SQLITE}{SETTINGS}")
        yield Rows(code, server, {"ROWS_FILE": str(tmp_path / "rows.sqlite")})
        return
    (package / "settings.py").write_text(f"import os\n{POSTGRES}{SETTINGS}")
    postgres = Postgres(tmp_path)
    try:
        postgres.start()
    except LocalServerError as error:
        require("postgres", str(error))
    yield Rows(code, server, {"DATABASE_URL": postgres.url}, postgres)
    postgres.stop()


def test_rows_that_change_while_it_runs_are_sent(rows: Rows) -> None:
    """
    Added, moved to another queue, disabled, and not to be read: each counts without a restart.
    """
    rows.migrate()
    with rows.beat() as beat:
        beat.says("beat: sends now: .* scheduler DatabaseScheduler")
        # What the settings have is a row, too.
        rows.sent("settings")

        rows.change("add('added')")
        rows.sent("added", 2)
        rows.change("one = PeriodicTask.objects.get(name='added'); one.queue = 'moved'; one.save()")
        rows.sent("moved", 2)
        rows.change(
            """
            one = PeriodicTask.objects.get(name='added')
            one.enabled = False
            one.save()
            add('broken', args='[')
            never = CrontabSchedule.objects.create(minute='61')
            add('wrong', interval=None, crontab=never)
            add('after')
            """
        )
        # All of them are in force when the last of them is sent.
        rows.sent("after")
        before = rows.count("moved")
        rows.sent("after", 3)
        assert before == rows.count("moved")
        assert [0, 0] == [rows.count(one) for one in ("wrong", "broken")]
        assert 1 == len(beat.says("the entry 'wrong' is left out"))
        assert "ready" in beat.health("--ready")[1]

        assert 0 == beat.stop()
    stored = "print(*PeriodicTask.objects.values_list('name', 'total_run_count'), sep='\\n')"
    counts = rows.change(stored)
    assert f"('after', {rows.count('after')})" in counts.splitlines()


@pytest.mark.parametrize("rows", ["sqlite"], indirect=True)
def test_two_of_them_take_turns(rows: Rows) -> None:
    """
    The second knows what the first sent, by Redis and by the database, and sends it not again.
    """
    rows.migrate()
    rows.change(
        """
        hour, _ = IntervalSchedule.objects.get_or_create(every=1, period="hours")
        add('hourly', interval=hour)
        """
    )
    rows.server.client.hset("unacked.beat:rows:runs", "hourly", 1)
    with rows.beat() as one, rows.beat("two") as two:
        holder = one if until(lambda: _holder(rows.server)) == one.process.pid else two
        (other,) = {one, two} - {holder}
        other.says("beat: waits: ")
        until(lambda: rows.count("hourly"))
        holder.kill()
        other.sends()
        rows.sent("settings", 2)
        assert 0 == other.stop()

    assert 1 == rows.count("hourly")


def _holder(server: Redis) -> int:
    return int(server.client.hget("unacked.beat:rows", "pid") or 0)


@pytest.mark.parametrize("rows", ["sqlite"], indirect=True)
def test_a_database_without_the_tables_is_one_line(rows: Rows) -> None:
    """
    A restart does not help: 78, and what to run.
    """
    with rows.beat() as beat:
        assert 78 == beat.wait()
        assert "run the project's migrations (manage.py migrate)" in beat.output()
        assert "Traceback" not in beat.output()


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["postgres"], indirect=True)
def test_a_database_that_is_away_ends_nothing(rows: Rows) -> None:
    """
    What is known of the schedule is sent meanwhile, and what changes when it is back.
    """
    assert rows.postgres is not None
    rows.migrate()
    with rows.beat() as beat:
        beat.sends()
        rows.sent("settings")
        rows.postgres.kill()
        beat.says("Database gave error|DatabaseScheduler: InterfaceError")
        rows.sent("settings", 2)
        assert 0 == beat.health()[0]

        rows.postgres.start()
        rows.change("add('added')")
        rows.sent("added", 2)
        until(lambda: beat.health("--ready")[0] == 0)
        assert 0 == beat.stop()
