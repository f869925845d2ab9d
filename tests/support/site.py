"""A small Django project that is not ours: what the tests of `up` and of imports write to files."""

from pathlib import Path

CELERY = """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
app = Celery("site1")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""

#: Without a word about servers.
SETTINGS = """
import os

SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "site1"]
"""

#: Those of a project that takes its broker from a variable, and has SQLite.
SQLITE = f"""{SETTINGS}
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://db/0")
CELERY_RESULT_BACKEND = os.environ.get("CELERY_RESULT_BACKEND", CELERY_BROKER_URL)
DATABASES = {{"default": dict(ENGINE="django.db.backends.sqlite3", NAME="db.sqlite3")}}
"""

TASKS = """
from celery import shared_task


@shared_task
def add(a, b):
    return a + b
"""

MANAGE = """
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
execute_from_command_line(sys.argv)
"""


def write_site(folder: Path, settings: str = SETTINGS, tasks: str = TASKS) -> Path:
    """Write the project site1, with its manage.py, to *folder*; return its package."""
    package = folder / "site1"
    package.mkdir()
    (package / "__init__.py").write_text("from site1.celery import app\n")
    (package / "celery.py").write_text(CELERY)
    (package / "settings.py").write_text(settings)
    (package / "tasks.py").write_text(tasks)
    (folder / "manage.py").write_text(MANAGE)
    return package
