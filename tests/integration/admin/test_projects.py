"""Projects that are not ours: their settings, their sites, their servers."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import redis

from task_server.local import Server
from tests.integration.admin.test_pages import FAILED, QUEUES, WORKERS, rows
from tests.integration.transport.peers import Started
from tests.support.admin_site import URLS, USERS, Site, write_admin
from tests.support.program import Ended, program_in
from tests.support.redis import Redis
from tests.support.wait import until

LISTS = (QUEUES, WORKERS, FAILED)


@contextmanager
def site_of(
    folder: Path, broker: str, settings: str = "", urls: str = URLS, **environ: str
) -> Iterator[Site]:
    """Have a project with more *settings*, and its users."""
    write_admin(folder, settings, urls)
    with Site(folder, {"BROKER_URL": broker, **environ}) as site:
        site.run("None", first=USERS)
        yield site


@pytest.fixture
def url(shared_server: Started) -> str:
    """Return the URL of an empty broker."""
    shared_server.client().flushall()
    return f"redis://127.0.0.1:{shared_server.port}/0"


@pytest.fixture
def manage(tmp_path: Path, url: str) -> Callable[..., Ended]:
    """Return manage.py of the project."""

    def run(*arguments: str) -> Ended:
        with program_in(tmp_path) as program:
            done = subprocess.run(
                [sys.executable, "manage.py", *arguments],
                cwd=tmp_path,
                env={**program.environ, "BROKER_URL": url},
                capture_output=True,
                text=True,
                check=False,
            )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


def test_the_database_gets_permissions_and_nothing_else(
    tmp_path: Path, manage: Callable[..., Ended]
) -> None:
    """
    No table, no migration that is missing, and `dumpdata` goes on.
    """
    write_admin(tmp_path)
    checked = manage("check")
    missing = manage("makemigrations", "--check", "--dry-run")
    migrated = manage("migrate")
    again = manage("migrate", "--run-syncdb")
    dumped = manage("dumpdata")
    dumped_all = manage("dumpdata", "--all")
    query = (
        "from django.db import connection; from django.contrib.auth.models import Permission;"
        "print([t for t in connection.introspection.table_names() if 'task_server' in t],"
        " sorted(Permission.objects.filter(content_type__app_label='task_server_admin')"
        ".values_list('codename', flat=True)))"
    )
    shell = manage("shell", "-c", query)

    ended = (checked, missing, migrated, again, dumped, dumped_all, shell)
    assert [0] * len(ended) == [one.returncode for one in ended], [one.stderr for one in ended]
    assert "No changes detected" in missing.stdout
    codes = [
        f"{verb}_{model}"
        for verb in ("change", "view")
        for model in ("failedtask", "queue", "worker")
    ]
    assert f"[] {codes}" == shell.stdout.strip().splitlines()[-1]


def test_before_the_permissions_are_there(tmp_path: Path, url: str) -> None:
    """
    A project that has not migrated since: superusers see all, and staff are refused.
    """
    first = """
call_command("migrate", verbosity=0)
Permission.objects.filter(content_type__app_label="task_server_admin").delete()
from django.contrib.contenttypes.models import ContentType
ContentType.objects.filter(app_label="task_server_admin").delete()
User.objects.create_superuser("root")
user("nobody")
"""
    write_admin(tmp_path)
    with Site(tmp_path, {"BROKER_URL": url}) as site:
        site.run("None", first=first)
        seen = {user: {site.get(one, user).status for one in LISTS} for user in ("root", "nobody")}

    assert {"root": {200}, "nobody": {403}} == seen


SETTINGS = {
    "naive times": "USE_TZ = False\nTIME_ZONE = 'America/New_York'\n",
    "no translation": "USE_I18N = False\n",
    "German": "LANGUAGE_CODE = 'de'\nUSE_THOUSAND_SEPARATOR = True\n",
    "Arabic": "LANGUAGE_CODE = 'ar'\n",
    "messages in cookies": (
        "MESSAGE_STORAGE = 'django.contrib.messages.storage.cookie.CookieStorage'\n"
    ),
    "static files with hashes": (
        "STATIC_ROOT = 'static'\n"
        "STORAGES = {'staticfiles': {'BACKEND':"
        " 'django.contrib.staticfiles.storage.ManifestStaticFilesStorage'}}\n"
    ),
    "no debugging": "DEBUG = False\n",
    "a transaction a request": "DATABASES['default']['ATOMIC_REQUESTS'] = True\n",
}


#: Those of a plain run; .ci/run has all.
FEW = ("German", "no debugging")


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(text, id=name, marks=() if name in FEW else pytest.mark.slow)
        for name, text in SETTINGS.items()
    ],
)
def test_settings_of_a_project(
    tmp_path: Path, url: str, shared_server: Started, settings: str
) -> None:
    """
    The pages are there, whatever a project sets, with what lies in Redis.
    """
    client = shared_server.client()
    client.lpush("io_bound", *range(12_345))
    client.zadd("unacked.delayed:celery", {"z": client.time()[0] + 30})
    with site_of(tmp_path, url, settings) as site:
        if "Manifest" in settings:
            site.run("call_command('collectstatic', verbosity=0, interactive=False)")
        pages = [site.get(one) for one in (*LISTS, f"{QUEUES}io_5Fbound/change/")]

    assert [200] * 4 == [one.status for one in pages]
    assert "12345" == re.sub(r"\D", "", rows(pages[0].text)[0][1])


OWN_SITE = """
from django.contrib import admin

from task_server.contrib.admin import register


class OwnSite(admin.AdminSite):
    site_header = "Own"


own = OwnSite(name="own")
register(own)
register(own)
""" + URLS.replace("urlpatterns = [", 'urlpatterns = [path("own/", own.urls), ')


def test_a_site_of_its_own(tmp_path: Path, url: str) -> None:
    """
    The pages are in it, by its name, and lead to each other in it.
    """
    with site_of(tmp_path, url, urls=OWN_SITE) as site:
        index = site.get("/own/").text
        page = site.get("/own/task_server_admin/queue/").text

    assert 'href="/own/task_server_admin/queue/"' in index
    assert 'href="/own/task_server_admin/queue/celery/change/"' in page
    assert 'href="/admin/' not in page


def test_a_default_site_of_its_own(tmp_path: Path, url: str) -> None:
    """
    A project whose `default_site` is another class, and that names its AdminConfig.
    """
    package = tmp_path / "site1"
    settings = "INSTALLED_APPS[0] = 'site1.sites.Config'\n"
    write_admin(tmp_path, settings)
    (package / "sites.py").write_text(
        "from django.contrib.admin import AdminSite\n"
        "from django.contrib.admin.apps import AdminConfig\n\n\n"
        "class Config(AdminConfig):\n    default_site = 'site1.sites.Site'\n\n\n"
        "class Site(AdminSite):\n    site_header = 'Own'\n"
    )
    with Site(tmp_path, {"BROKER_URL": url}) as site:
        site.run("None", first=USERS)
        assert "Own" in site.get(QUEUES).text


def test_a_project_without_the_admin(tmp_path: Path, manage: Callable[..., Ended]) -> None:
    """
    The application alone does nothing, and breaks nothing.
    """
    settings = "INSTALLED_APPS = [INSTALLED_APPS[1], INSTALLED_APPS[2], *INSTALLED_APPS[6:]]\n"
    write_admin(tmp_path, settings, urls="urlpatterns = []\n\n\ndef policy(get): return get\n")
    done = [manage("check"), manage("migrate")]

    assert [0, 0] == [one.returncode for one in done], [one.stderr for one in done]


def test_a_prefix_and_a_database_of_its_own(
    tmp_path: Path, url: str, shared_server: Started
) -> None:
    """
    The keys are those of the project's transport options.
    """
    shared_server.client(db=3).lpush("p.io_bound", "x", "y")
    options = "CELERY_BROKER_TRANSPORT_OPTIONS = {'global_keyprefix': 'p.'}\n"
    with site_of(tmp_path, url.replace("/0", "/3"), options) as site:
        found = {row[0]: row[1] for row in rows(site.get(QUEUES).text)}

    assert {"io_bound": "2", "celery": ""} == found


def test_an_app_that_nobody_has_imported(tmp_path: Path, url: str) -> None:
    """
    It is found beside the settings, as workers find it.
    """
    package = write_admin(tmp_path)
    (package / "__init__.py").write_text("")
    with Site(tmp_path, {"BROKER_URL": url}) as site:
        site.run("None", first=USERS)
        names = {row[0] for row in rows(site.get(QUEUES).text)}

    assert {"celery", "io_bound"} == names


@pytest.mark.parametrize(
    ("broker", "said"),
    [
        ("redis://:secret@127.0.0.1:1/0", "nothing listens at 127.0.0.1:1"),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (
                ("memory://", "is not a Redis"),
                ("redis://:secret@nowhere.invalid/0", "does not resolve"),
                ("redis://:secret@127.0.0.1:port/0", "not a valid Redis URL"),
            )
        ),
    ],
)
def test_a_broker_that_cannot_be_read(tmp_path: Path, broker: str, said: str) -> None:
    """
    Each page says why, without the password.
    """
    with site_of(tmp_path, broker) as site:
        pages = [site.get(one) for one in (*LISTS, f"{QUEUES}celery/change/")]

    assert [200] * 4 == [one.status for one in pages]
    for page in pages:
        assert said in page.text
        assert "secret" not in page.text


def test_a_redis_that_hangs(tmp_path: Path) -> None:
    """
    Each page waits for it for less than two seconds, and says so; then it shows all again.
    """
    server = Redis(tmp_path).start()
    folder = tmp_path / "project"
    folder.mkdir()
    try:
        with site_of(folder, server.url, HASTY="1") as site:
            until(lambda: rows(site.get(QUEUES).text), "a page")
            before = site.run(SOCKETS)
            server.signal(signal.SIGSTOP)
            site.run("None", first=WATCH)
            pages = [site.get(one) for one in (*LISTS, f"{QUEUES}celery/change/")]
            changed = site.post(f"{QUEUES}celery/change/", {"action": "pause"})
            waited = site.run("waited")
            server.signal(signal.SIGCONT)
            until(lambda: rows(site.get(QUEUES).text), "a page")
            until(lambda: site.run(SOCKETS) <= before, "its connections to be closed")
    finally:
        server.signal(signal.SIGCONT)
        server.stop()

    assert ["no answer from" in one.text for one in pages] == [True] * 4
    assert 200 == changed.status
    assert "“celery”: Paused." not in changed.text
    # No page asks twice.
    assert 6 == len(waited)
    assert max(waited) < 2


#: How many sockets the process has open.
SOCKETS = (
    "sum('socket:' in os.path.realpath('/proc/self/fd/' + one)"
    " for one in os.listdir('/proc/self/fd'))"
)

#: Remembers how long each page may wait for Redis.
WATCH = """
import task_server.contrib.admin.broker as broker

waited = []


def timed(seconds, work, run=broker.run_with_timeout):
    waited.append(seconds)
    return run(seconds, work)


broker.run_with_timeout = timed
"""


def test_a_process_of_gevent(tmp_path: Path, url: str) -> None:
    """
    The pages are the same in a web process that gevent has patched.
    """
    pytest.importorskip("gevent")
    with site_of(tmp_path, url, GEVENT="1") as site:
        pages = [site.get(one) for one in (*LISTS, f"{QUEUES}celery/change/")]
        patched = site.run("'gevent' in str(__import__('socket').socket)")

    assert [200] * 4 == [one.status for one in pages]
    assert rows(pages[0].text)
    assert patched


def test_a_process_of_asgi(tmp_path: Path, url: str, shared_server: Started) -> None:
    """
    The pages and the forms are the same under Django's ASGI handler, whose views have a thread.
    """
    client = shared_server.client()
    client.lpush("celery", "x")
    with site_of(tmp_path, url, ASGI="1") as site:
        pages = [site.get(one) for one in (*LISTS, f"{QUEUES}celery/change/")]
        refused = site.post(f"{QUEUES}celery/change/", {"action": "pause"}, "viewer", follow=False)
        paused = site.post(f"{QUEUES}celery/change/", {"action": "pause"}, "changer")
        at_once = site.run("asyncio.run(together(viewer))", first=TOGETHER)

    assert [200] * 4 == [one.status for one in pages]
    assert [["celery", "1"]] == [row[:2] for row in rows(pages[0].text) if row[0] == "celery"]
    assert 403 == refused.status
    assert "“celery”: Paused." in paused.text
    assert client.hexists("unacked.paused", "celery")
    assert [200] * 8 == at_once


#: Several requests of one event loop.
TOGETHER = f"""
async def together(client):
    answers = await asyncio.gather(*(client.get("{QUEUES}") for _ in range(8)))
    return [one.status_code for one in answers]


viewer = AsyncClient()
viewer.force_login(User.objects.get(username="viewer"))
"""


def test_a_project_with_postgresql(tmp_path: Path, url: str, postgres_server: Server) -> None:
    """
    Whose columns hold no NUL: a name that has one is in Django's log all the same.
    """
    parts = urlsplit(postgres_server.client_url)
    user, _, place = parts.netloc.rpartition("@")
    host, _, port = place.partition(":")
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": user.partition(":")[0],
        "HOST": unquote(host),
        "PORT": port,
    }
    settings = f"DATABASES = {{'default': {database!r}}}\n"
    name = "nul\x00 \u202e<b>"
    with site_of(tmp_path, url, settings) as site:
        with redis.Redis.from_url(url) as client:
            client.sadd("_kombu.binding.x", f"x\x06\x16\x06\x16{name}")
        (address,) = set(re.findall(rf'href="({QUEUES}nul[^"]*)"', site.get(QUEUES).text))
        done = site.post(address, {"action": "pause"})
        logged = site.run("list(LogEntry.objects.values_list('object_id', 'change_message'))")
        (history,) = set(re.findall(r'href="([^"]*history/)"', done.text))

        assert [["nul\\x00 \\u202e<b>", "Paused."]] == logged
        assert "Paused." in site.get(history).text
