"""Logs as JSON: one object a line, for journald and log collectors."""

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from celery import current_app, current_task, signals

from task_server.transport.store import previous_owner
from task_server.worker.status.queue_names import QueueNames

#: On a task's request: when it started here, by the monotonic clock.
STARTED: Final = "_task_server_started"


class JsonFormatter(logging.Formatter):
    """
    Makes one JSON object of a record.

    Its keys: `time` (UTC, ISO 8601), `level`, `logger`, `message`, `process`, `worker` (the
    node's name), and `exception` with its traceback. Of a task: `task_name`, `task_id`; while
    it runs, and of how it ended, `queue`, `tries`, `seconds` since its start, and `redelivered`,
    true if a worker had it before. Of a message that was redelivered, in the worker's main
    process: `last_held`, the node and the pid that had it, until when.

    Args:
        worker: The node's name; empty where there is none.
    """

    def __init__(self, worker: str = "") -> None:
        super().__init__()
        self._worker = worker
        self._queues = QueueNames()

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one line of JSON."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.processName,
        }
        if self._worker:
            fields["worker"] = self._worker
        fields |= self._of_task(record)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=repr)

    def _of_task(self, record: logging.LogRecord) -> dict[str, Any]:
        # Celery's own lines of tasks say in `data` which one they are about.
        data = getattr(record, "data", None)
        said = data if isinstance(data, Mapping) else {}
        request = current_task.request if current_task and current_task.request.id else None
        id_ = said.get("id") or (request and request.id)
        if not id_:
            return {}
        name = said.get("name") or (current_task.name if request else None)
        fields = {"task_name": name, "task_id": id_}
        if request and request.id == id_:
            fields |= self._of_request(request)
        if isinstance(runtime := said.get("runtime"), int | float):
            fields["seconds"] = round(runtime, 6)
        if last := previous_owner.recent(id_):
            fields |= {"redelivered": True, "last_held": last}
        return fields

    def _of_request(self, request: Any) -> dict[str, Any]:
        info = request.delivery_info
        fields = {
            "queue": self._queues.of(info, current_app) or None,
            "tries": (request.retries or 0) + 1,
            "redelivered": bool(isinstance(info, Mapping) and info.get("redelivered")),
        }
        started = getattr(request, STARTED, None)
        if started is not None:
            fields["seconds"] = round(time.monotonic() - started, 6)
        return fields


def install(worker: str = "") -> None:
    """
    Give every handler that Celery sets up the JSON format; call it before the worker starts.

    Args:
        worker: The node's name.
    """
    formatter = JsonFormatter(worker)

    def format_handlers(logger: logging.Logger, **_: Any) -> None:
        for handler in logger.handlers:
            handler.setFormatter(formatter)

    def note_start(task: Any = None, **_: Any) -> None:
        setattr(task.request, STARTED, time.monotonic())

    signals.after_setup_logger.connect(format_handlers, weak=False)
    signals.after_setup_task_logger.connect(format_handlers, weak=False)
    if worker:
        signals.task_prerun.connect(note_start, weak=False)
