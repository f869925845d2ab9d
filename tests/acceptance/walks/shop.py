"""The project of the walks: a Django project, or none, with one task that says where it ran."""

from pathlib import Path

from tests.acceptance.walks.conftest import Up, Walk
from tests.support.wait import until

CELERY = """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""

SETTINGS = """
import os
from pathlib import Path

BASE_DIR = Path(__file__).parent.parent
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "shop"]
"""

TASKS = """
from pathlib import Path

from celery import shared_task


@shared_task(bind=True)
def add(self, a, b):
    with Path("done.txt").open("a") as file:
        file.write(f"{a + b} {self.request.hostname.partition('@')[0]}\\n")
    return a + b
"""

MANAGE = """
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
execute_from_command_line(sys.argv)
"""

#: A broker that is read from the variable of whoever starts it.
REDIS_URL = """
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = os.environ.get("REDIS_URL", "redis://redis:6379/0")
"""

SQLITE = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
"""

#: Two calls of the task, one on each queue.
SEND = (
    'python -c "from shop.celery import app; from shop.tasks import add; '
    "add.delay(2, 3); add.apply_async((4, 5), queue='io_bound')\""
)


def make(folder: Path, settings: str) -> None:
    """Write the project with these *settings* to *folder*."""
    package = folder / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from shop.celery import app\n")
    (package / "celery.py").write_text(CELERY)
    (package / "settings.py").write_text(SETTINGS + settings)
    (package / "tasks.py").write_text(TASKS)
    (folder / "manage.py").write_text(MANAGE)


def files(folder: Path) -> set[str]:
    """Return what lies in *folder* and in its packages, but for bytecode and our state."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix != ".pyc"
        and not {".task-server", ".venv"} & set(path.relative_to(folder).parts)
    }


def runs_on_both(up: Up, done: Path, code: str = ".") -> None:
    """Send a task to each worker from another process of the project; both run it."""
    walk: Walk = up.walk
    walk.says(SEND, **up.exports, PYTHONPATH=code)
    wanted = {"5 prefork", "9 gevent"}
    until(lambda: done.exists() and wanted == set(done.read_text().splitlines()), "both tasks")
