"""A record becomes one JSON object on one line."""

import json
import logging
import sys

from celery import Celery

from task_server.worker.logs import JsonFormatter


def record(message: str, *arguments: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord(
        "cl.tasks", logging.WARNING, "tasks.py", 7, message, arguments, exc_info
    )


def test_a_record_is_one_line_that_a_machine_can_read() -> None:
    """
    Line ends and quotes inside a message do not break the line.
    """
    line = JsonFormatter().format(record('two\nlines, "%s"', "ü"))

    fields = json.loads(line)
    assert "\n" not in line
    assert ("warning", "cl.tasks", 'two\nlines, "ü"') == (
        fields["level"],
        fields["logger"],
        fields["message"],
    )
    assert fields["time"].endswith("+00:00")


def test_a_traceback_is_part_of_the_object() -> None:
    """
    An exception does not spread over lines of its own.
    """
    try:
        int("torn")
    except ValueError:
        fields = json.loads(JsonFormatter().format(record("failed", exc_info=sys.exc_info())))

    assert "ValueError: invalid literal" in fields["exception"]


def test_a_line_of_a_task_names_the_task() -> None:
    """
    What a task logs can be found by its id.
    """
    app = Celery("logs", set_as_current=False)

    @app.task(name="cl.tasks.read")
    def read() -> str:
        return JsonFormatter().format(record("reading"))

    result = read.apply(task_id="1234")

    fields = json.loads(result.get())
    assert ("cl.tasks.read", "1234") == (fields["task_name"], fields["task_id"])
