"""A small Django project with an admin, and a process of it that answers a test's requests."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.support.program import Output, program_in

SETTINGS = """
import os

SECRET_KEY = "x"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site1.urls"
STATIC_URL = "/static/"
USE_TZ = True
TIME_ZONE = "Asia/Kolkata"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "site1",
    "task_server.contrib.admin",
]
MIDDLEWARE = [
    "site1.urls.policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {"default": dict(ENGINE="django.db.backends.sqlite3", NAME="db.sqlite3")}
CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_TASK_ROUTES = {"site1.tasks.read": {"queue": "io_bound"}}
"""

#: `/enter/USER/` logs a user in, for a browser that types nothing. Nothing inline is allowed.
URLS = """
import os

from django.contrib import admin
from django.contrib.auth import get_user_model, login
from django.http import HttpResponse
from django.urls import path

if not os.environ.get("HASTY"):
    # A machine that runs many tests takes longer than somebody who waits for a page would.
    from task_server.contrib.admin import broker, failed, lastday

    broker.SECONDS = broker.TIMEOUT = failed.SECONDS = lastday.SECONDS = 100.0


def enter(request, name):
    user = get_user_model().objects.get(username=name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("in")


def policy(get_response):
    def respond(request):
        response = get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'"
        return response

    return respond


urlpatterns = [
    path("admin/", admin.site.urls),
    path("enter/<name>/", enter),
    path("favicon.ico", lambda request: HttpResponse(status=204)),
]
"""

CELERY = """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
app = Celery("site1")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""

TASKS = """
import time

from celery import shared_task


@shared_task
def add(a, b):
    return a + b


@shared_task
def read(url):
    time.sleep(0.01)


@shared_task
def wait(seconds):
    time.sleep(seconds)


@shared_task
def fail(text):
    raise ValueError(text)
"""

MANAGE = """
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
execute_from_command_line(sys.argv)
"""

#: Each line that it reads is a request, or an expression; each that it writes is the answer.
DRIVER = '''
import asyncio
import json
import os
import sys
import time

if os.environ.get("GEVENT"):
    from gevent import monkey

    monkey.patch_all()

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
import django

django.setup()
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import AsyncClient, Client
from django.test.utils import setup_test_environment

setup_test_environment()
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def user(name, *codes, staff=True):
    """Make a user with these permissions."""
    made = User.objects.create_user(name, is_staff=staff)
    made.user_permissions.set(
        Permission.objects.filter(codename__in=codes, content_type__app_label="task_server_admin")
    )


def respond(asked):
    if "run" in asked:
        exec(asked.get("first", ""), globals())
        return {"value": eval(asked["run"], globals())}
    is_async = "ASGI" in os.environ
    kind = AsyncClient if is_async else Client
    client = kind(raise_request_exception=False, enforce_csrf_checks=asked.get("csrf", False))
    if asked.get("user"):
        client.force_login(User.objects.get(username=asked["user"]))
    started = time.monotonic()
    send = getattr(client, asked["method"])
    response = send(asked["path"], asked.get("data"), follow=asked.get("follow", False))
    response = asyncio.run(response) if is_async else response
    return {
        "status": response.status_code,
        "text": response.content.decode(),
        "headers": dict(response.headers),
        "seconds": time.monotonic() - started,
        "trail": [url for url, _ in getattr(response, "redirect_chain", [])],
    }


print("ready", file=answers, flush=True)
for line in sys.stdin:
    try:
        answer = respond(json.loads(line))
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)
'''


def write_admin(folder: Path, settings: str = "", urls: str = URLS) -> Path:
    """Write the project site1 to *folder*, with more *settings*; return its package."""
    package = folder / "site1"
    package.mkdir()
    (package / "__init__.py").write_text("from site1.celery import app\n")
    (package / "celery.py").write_text(CELERY)
    (package / "settings.py").write_text(SETTINGS + settings)
    (package / "urls.py").write_text(urls)
    (package / "tasks.py").write_text(TASKS)
    (folder / "manage.py").write_text(MANAGE)
    (folder / "driver.py").write_text(DRIVER)
    return package


@dataclass(frozen=True)
class Response:
    """What the project answered."""

    status: int
    text: str
    headers: Mapping[str, str]
    seconds: float
    trail: list[str]


class Site:
    """
    A process of the project in *folder*, and the test client in it.

    Args:
        environ: BROKER_URL, and what else its settings read; with GEVENT the process is
            gevent's, with ASGI it handles requests as under an ASGI server, with HASTY its pages
            wait for Redis no longer than for users.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        with program_in(folder) as program:
            environ = {**program.environ, **environ}
        with (folder / "driver.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error::DeprecationWarning:task_server", "driver.py"],
                cwd=folder,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._output = Output(self.process)
        self._output.until("ready")

    def get(self, path: str, user: str | None = "root", **more: Any) -> Response:
        """Return the page *path* as *user* sees it."""
        return self._respond({"method": "get", "path": path, "user": user, **more})

    def post(
        self, path: str, data: Mapping[str, Any], user: str | None = "root", **more: Any
    ) -> Response:
        """Send *data* to *path* as *user*; the answer is that of the last page unless told."""
        asked = {"method": "post", "path": path, "user": user, "data": dict(data), "follow": True}
        return self._respond({**asked, **more})

    def run(self, expression: str, first: str = "") -> Any:
        """Return the value of *expression* in that process, as JSON has it, after *first*."""
        return self._ask({"run": expression, "first": first})["value"]

    def _respond(self, asked: Mapping[str, Any]) -> Response:
        return Response(**self._ask(asked))

    def _ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._output.until("{"))
        assert "error" not in answer, answer["error"] + (self.folder / "driver.log").read_text()
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


#: Everybody that the tests are, made once the tables are there.
USERS = """
call_command("migrate", verbosity=0)
User.objects.create_superuser("root")
user("nobody")
user("viewer", "view_queue", "view_worker", "view_failedtask")
user("changer", "change_queue", "change_worker", "change_failedtask")
user("customer", staff=False)
"""
