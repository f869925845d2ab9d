"""Logs as JSON: one object a line, for journald and log collectors."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from celery import current_task, signals


class JsonFormatter(logging.Formatter):
    """
    Makes one JSON object of a record.

    Its keys: `time` (UTC, ISO 8601), `level`, `logger`, `message`, `process`,
    inside a task `task_name` and `task_id`, and `exception` with its traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one line of JSON."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.processName,
        }
        if current_task and current_task.request.id:
            fields["task_name"] = current_task.name
            fields["task_id"] = current_task.request.id
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=repr)


def install() -> None:
    """Give every handler that Celery sets up the JSON format; call it before the worker starts."""

    def format_handlers(logger: logging.Logger, **_: Any) -> None:
        for handler in logger.handlers:
            handler.setFormatter(JsonFormatter())

    signals.after_setup_logger.connect(format_handlers, weak=False)
    signals.after_setup_task_logger.connect(format_handlers, weak=False)
