"""A worker of Celery's, with prefork, whose children keep their connections."""

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Mapping
from typing import Any

from celery import Celery, states

from tests.integration.database.database_server import SOURCES, Server
from tests.support.wait import until
from tests.support.worker import PROJECT


def database(server: Server, **settings: Any) -> dict[str, Any]:
    """Return an alias of the *server*; *settings* are more of it."""
    options = {"application_name": "tasks", **settings.pop("OPTIONS", {})}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "tester",
        "HOST": str(server.folder),
        "OPTIONS": options,
        **settings,
    }


class Outcome:
    """The result of a task; read without Celery's subscription, which leaves its socket open."""

    def __init__(self, backend: Any, task_id: str) -> None:
        self._backend = backend
        self._id = task_id

    def _meta(self) -> Any:
        meta = self._backend.get_task_meta(self._id)
        return meta if meta["status"] in states.READY_STATES else None

    def get(self, timeout: float = 180) -> Any:
        """Return it when it is there, or raise what the task raised."""
        meta: Any = until(self._meta, "the result of a task", timeout)
        if meta["status"] == states.SUCCESS:
            return meta["result"]
        raise meta["result"]


class PreforkWorker:
    """
    A worker with one child, unless *arguments* say otherwise.

    Args:
        command: The Python that runs it, with its driver.

        databases: DATABASES of its project.

        kept: What its children keep, as `prefork.install` takes it.

        environ: More variables.
    """

    def __init__(
        self,
        command: list[str],
        redis_path: str,
        databases: Mapping[str, Any],
        *arguments: str,
        kept: Mapping[str, float] | None = None,
        environ: Mapping[str, str] | None = None,
        **celery: Any,
    ) -> None:
        url = f"redis+socket://{redis_path}"
        # A worker that was killed may still take from a queue of the same name.
        self._queue = uuid.uuid4().hex
        self._app = Celery("tests", broker=url)
        self._reader = Celery("results", broker=url, backend=url)
        self.process = subprocess.Popen(
            [
                *(*command, "-m", "celery", "-A", "kept", "worker", "--pool=prefork", "-c", "1"),
                *("--loglevel=warning", "--without-gossip", "--without-mingle"),
                *("-Q", self._queue, *arguments),
            ],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(SOURCES), str(PROJECT)]),
                "TEST_SETTINGS": json.dumps({"DATABASES": databases}),
                "TEST_BROKER_URL": url,
                "TEST_CELERY": json.dumps(celery),
                "TEST_KEPT": json.dumps({"max_age": 1800.0, "max_idle": 60.0, **(kept or {})}),
                **(environ or {}),
            },
            start_new_session=True,
        )

    def send(self, source: str, **options: Any) -> Outcome:
        """Have it run the *source*."""
        sent = self._app.send_task("kept.python", (source,), queue=self._queue, **options)
        return Outcome(self._reader.backend, sent.id)

    def run(self, source: str, **options: Any) -> Any:
        """Return what the *source* calls `result`."""
        return self.send(source, **options).get(timeout=180)

    def stop(self) -> int:
        """End it as an operator does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def close(self) -> None:
        """End it and its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        self._reader.backend.client.connection_pool.disconnect()
        for app in (self._app, self._reader):
            app.close()
        self._app.close()
