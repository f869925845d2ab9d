"""
pretix and Nautobot, from the registry: `init` finds what each needs, and both workers run tasks.

The tasks are the projects' own: pretix puts tickets into carts, and Nautobot runs jobs.
"""

import sys
from pathlib import Path

import pytest

from task_server import local
from tests.acceptance.walks.conftest import Walk, run

# Hundreds of packages and of migrations.
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(5400)]

#: How many tasks each worker gets.
EACH = 20

PRETIX_CONFIG = """
[pretix]
instance_name=walk
url=http://localhost
datadir={folder}/data
[database]
backend=postgresql
name={database}
user={user}
host={host}
port={port}
[celery]
broker={redis}
backend={redis}
"""

PRETIX_TASKS = """
import os
from datetime import timedelta
from decimal import Decimal

os.environ["DJANGO_SETTINGS_MODULE"] = "pretix.settings"
import django

django.setup()
from django.utils.timezone import now
from django_scopes import scopes_disabled
from pretix.base.models import CartPosition, Event, Organizer
from pretix.base.services.cart import add_items_to_cart

EACH = int(os.environ["EACH"])
with scopes_disabled():
    organizer = Organizer.objects.create(name="Courts", slug="courts")
    event = Event.objects.create(
        organizer=organizer, name="Hearing", slug="hearing", live=True, currency="EUR",
        date_from=now() + timedelta(days=9), plugins="pretix.plugins.banktransfer",
    )
    item = event.items.create(name="Seat", default_price=Decimal("0.00"), active=True)
    quota = event.quotas.create(name="Room", size=None)
    quota.items.add(item)
    sent = [
        add_items_to_cart.apply_async(
            kwargs={
                "event": event.pk,
                "items": [{"item": item.pk, "variation": None, "count": 1}],
                "cart_id": f"{queue}-{number}@walk",
            },
            **({"queue": queue} if queue == "io_bound" else {}),
        )
        for number in range(EACH)
        for queue in ("checkout", "io_bound")
    ]
    for one in sent:
        one.get(timeout=300)
    carts = sorted(CartPosition.objects.filter(event=event).values_list("cart_id", flat=True))
for queue in ("checkout", "io_bound"):
    print(queue, sum(cart.startswith(queue) for cart in carts))
"""

NAUTOBOT_CONFIG = """
from nautobot.core.settings import *

SECRET_KEY = "x" * 50
ALLOWED_HOSTS = ["*"]
INSTALLATION_METRICS_ENABLED = False
DATABASES["default"].update(
    ENGINE="django.db.backends.postgresql", NAME={database!r}, USER={user!r}, HOST={host!r},
    PORT={port!r},
)
CELERY_BROKER_URL = {redis!r}
CACHES["default"]["LOCATION"] = {cache!r}
"""

NAUTOBOT_TASKS = """
import os
import time

import nautobot

nautobot.setup()
from django.contrib.auth import get_user_model
from nautobot.extras.models import Job, JobQueue, JobResult

EACH = int(os.environ["EACH"])
user = get_user_model().objects.create_superuser("walk", "walk@localhost", "x")
job = Job.objects.get(job_class_name="RefreshDynamicGroupCaches")
job.enabled = True
job.save()
queue, _ = JobQueue.objects.get_or_create(name="io_bound", defaults={"queue_type": "celery"})
job.job_queues.add(queue)
sent = {"default": [], "io_bound": []}
for _ in range(EACH):
    for name, results in sent.items():
        taken = None if name == "default" else queue
        options = {"job_queue": taken, "job_kwargs": {"single_group": None}}
        result = JobResult.enqueue_job(job, user, **options)
        results.append(result.pk)
deadline = time.monotonic() + 600
for name, keys in sent.items():
    results = JobResult.objects.filter(pk__in=keys)
    while results.exclude(status="SUCCESS").exists() and time.monotonic() < deadline:
        failed = results.filter(status__in=("FAILURE", "REVOKED")).first()
        assert failed is None, failed.traceback
        time.sleep(0.2)
    print(name, results.filter(status="SUCCESS").count())
"""


@pytest.fixture
def beside(request: pytest.FixtureRequest, bare_walk: Walk, uv: str, wheel: Path) -> Walk:
    """Return a shell with the project of the parameter and task-server in its environment."""
    place = bare_walk.folder.parent / "venv"
    run(uv, "venv", "--quiet", "--python", sys.executable, place)
    extras = f"task-server[gevent,psycopg2] @ {wheel.as_uri()}"
    run(uv, "pip", "install", "--quiet", "--python", place, extras, request.param)
    bare_walk.environ = {
        **bare_walk.environ,
        "PATH": f"{place / 'bin'}:{bare_walk.environ['PATH']}",
        "HOME": str(bare_walk.home),
        "EACH": str(EACH),
    }
    return bare_walk


def settings(postgres: local.Server, redis: local.Server) -> dict[str, str]:
    """Return the addresses of the servers, as the projects' files name them."""
    local.servers.cluster.ensure_database(postgres.environ, postgres.environ["PGDATABASE"])
    path = redis.client_url.partition("://")[2].partition("?")[0]
    return {
        "database": postgres.environ["PGDATABASE"],
        "user": postgres.environ["PGUSER"],
        "host": postgres.environ["PGHOST"],
        "port": postgres.environ["PGPORT"],
        "redis": redis.url,
        "cache": f"unix://{path}?db=7",
    }


def migrate(walk: Walk, line: str) -> None:
    """Run the migrations, which take minutes."""
    process = walk.start(line)
    stdout, stderr = process.communicate(timeout=3600)
    assert 0 == process.returncode, f"{stdout[-2000:]}\n{stderr[-4000:]}"


def tasks(walk: Walk, program: str) -> set[str]:
    """Send the tasks, and wait for them; return how many of each queue have run."""
    (walk.folder / "send.py").write_text(program)
    process = walk.start("python send.py")
    stdout, stderr = process.communicate(timeout=1200)
    assert 0 == process.returncode, stderr[-4000:]
    return set(stdout.splitlines()[-2:])


@pytest.mark.parametrize("beside", ["pretix>=2026.8"], indirect=True)
def test_pretix(beside: Walk, postgres_server: local.Server, redis_server: local.Server) -> None:
    """
    Its settings are a file of its own; tickets get into carts on both workers.
    """
    text = PRETIX_CONFIG.format(folder=beside.folder, **settings(postgres_server, redis_server))
    (beside.folder / "pretix.cfg").write_text(text)

    said = beside.says("task-server init")
    migrate(beside, "python -m pretix migrate --no-input")
    up = beside.up()
    done = tasks(beside, PRETIX_TASKS)
    up.stop()

    assert "app: pretix.celery_app, found by the settings of pretix" in said
    assert "checkout" in said
    assert {f"checkout {EACH}", f"io_bound {EACH}"} == done
    assert 'queues = "all"' in (beside.folder / "task-server.toml").read_text()


@pytest.mark.parametrize("beside", ["nautobot>=3.2"], indirect=True)
def test_nautobot(beside: Walk, postgres_server: local.Server, redis_server: local.Server) -> None:
    """
    Its app needs a function called first, which `init` writes; jobs run on both workers.
    """
    text = NAUTOBOT_CONFIG.format(**settings(postgres_server, redis_server))
    config = beside.folder / "nautobot_config.py"
    config.write_text(text)
    beside.environ = {
        **beside.environ,
        "NAUTOBOT_CONFIG": str(config),
        "NAUTOBOT_ROOT": str(beside.folder / "root"),
    }

    said = beside.says("task-server init")
    migrate(beside, "nautobot-server migrate")
    up = beside.up()
    done = tasks(beside, NAUTOBOT_TASKS)
    up.stop()

    assert "app: nautobot.core.celery, found by the settings of nautobot" in said
    assert "setup: nautobot:setup() before the app is imported" in said
    assert {f"default {EACH}", f"io_bound {EACH}"} == done
