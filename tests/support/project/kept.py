"""A Django project whose prefork children keep connections; its task runs what a test sends."""

import json
import os
from typing import Any

from celery import Celery
from django.conf import settings

from task_server.worker.database import prefork

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kept")
if not settings.configured:
    settings.configure(**json.loads(os.environ["TEST_SETTINGS"]), USE_TZ=True)

from django.db import connection, connections
from django.db.backends.signals import connection_created

app = Celery("kept", broker=os.environ["TEST_BROKER_URL"], backend=os.environ["TEST_BROKER_URL"])
app.conf.update(json.loads(os.environ["TEST_CELERY"]))
prefork.install(**json.loads(os.environ["TEST_KEPT"]))


def set_tenant(connection: Any, **_: object) -> None:
    """Set what every connection of the project has."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET kept.tenant = 'ours'")


connection_created.connect(set_tenant)


def ask(sql: str, alias: str = "default") -> Any:
    """Return the first value of the first row, if there is one."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def pid(alias: str = "default") -> int:
    """Return the process of the session."""
    return int(ask("SELECT pg_backend_pid()", alias))


#: The session of the main process, which is open when it forks.
PARENT = pid() if os.environ.get("TEST_PARENT") else None

#: What tasks leave for the next one.
LEFT: dict[str, Any] = {}


@app.task
def python(source: str) -> Any:
    """Run the *source*; return what it calls `result`."""
    names: dict[str, Any] = {"ask": ask, "pid": pid, "left": LEFT, "parent": PARENT}
    names.update(connection=connection, connections=connections)
    exec(source, names)  # noqa: S102 the tests say what
    return names.get("result")
