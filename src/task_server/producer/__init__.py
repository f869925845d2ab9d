"""
Cheap sends, for whatever process calls `delay()`: a web server, a command, a worker.

One of three, with one result; no other line of the project changes::

    load(globals())                                # task_server.settings, in the settings
    INSTALLED_APPS += ["task_server.producer"]     # or so, in the settings
    task_server.producer.install(app)              # or so, in celery.py

Messages stay those of Celery and Kombu. `sent_at` reads when one was sent.
"""

from typing import Any

from task_server.producer.stamp import HEADER, sent_at

__all__ = ["HEADER", "install", "sent_at"]


def install(app: Any) -> bool:
    """
    Let the Celery app *app* send with one client a connection, and stamp what it sends.

    Returns:
        Whether it does: `producer = false` in task-server.toml, or TASK_SERVER_PRODUCER=false,
        leaves everything as Celery has it, and so does a Kombu that is not known.
    """
    from task_server.producer.switch import is_on  # noqa: PLC0415 - light to import

    if not is_on():
        return False
    from task_server.producer.adopt import install as install_in  # noqa: PLC0415 - imports Celery

    return install_in(app)
