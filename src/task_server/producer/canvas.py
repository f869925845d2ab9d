"""A group sends its tasks together, and so do chunks, and the header of a chord."""

from collections.abc import Iterator
from functools import wraps
from typing import Any

from celery import canvas

from task_server.producer.batch import batching
from task_server.worker.patching import patch


def install() -> None:
    """Let groups of apps that have our producers send together, in this process."""
    group: Any = canvas.group
    apply_tasks = group._apply_tasks  # noqa: SLF001 - the place where it holds a producer
    if getattr(apply_tasks, "together", False):
        return

    @wraps(apply_tasks)
    def together(
        self: Any, tasks: Any, producer: Any = None, app: Any = None, *args: Any, **options: Any
    ) -> Iterator[Any]:
        app = app or self.app
        with app.producer_or_acquire(producer) as held, batching(held):
            yield from apply_tasks(self, tasks, held, app, *args, **options)

    together.together = True  # type: ignore[attr-defined]
    patch(group, "_apply_tasks", together)
