"""What the workers that run register, and what they take from: asked over the broker."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: What Celery registers in every worker.
_CELERYS = "celery."


@dataclass(frozen=True, slots=True)
class Answers:
    """
    What workers have answered in time.

    Attributes:
        names: Of tasks or queues, by worker.

        trouble: Why they could not be asked; empty if they could.
    """

    names: Mapping[str, tuple[str, ...]]
    trouble: str = ""

    def of(self, name: str) -> str | None:
        """Return a worker that has *name*."""
        return next((worker for worker, names in self.names.items() if name in names), None)


class _FoundError(Exception):
    """Raised in the midst of the answers: more are not needed."""


def tasks_of_workers(app: Any, wanted: str, seconds: float) -> Answers:
    """
    Ask the workers on the broker of *app* for the tasks that they register.

    Returns after *seconds*, or as soon as one has the task *wanted*.
    """
    return _ask(app, "registered", _task_names, wanted, seconds)


def queues_of_workers(app: Any, wanted: str, seconds: float) -> Answers:
    """
    Ask the workers on the broker of *app* for the queues that they take from.

    Returns after *seconds*, or as soon as one takes from the queue *wanted*.
    """
    return _ask(app, "active_queues", _queue_names, wanted, seconds)


def _ask(
    app: Any, command: str, read: Callable[[Any], Iterable[str]], wanted: str, seconds: float
) -> Answers:
    names: dict[str, tuple[str, ...]] = {}

    def heard(body: Any) -> None:
        for worker, answer in body.items() if isinstance(body, Mapping) else ():
            names[str(worker)] = found = tuple(read(answer))
            if wanted in found:
                raise _FoundError

    if not seconds:
        return Answers({})
    try:
        with app.connection_for_write() as connection:
            # Else Kombu tries to connect without end.
            connection.transport_options.update(max_retries=1, interval_start=0)
            app.control.broadcast(
                command, reply=True, timeout=seconds, callback=heard, connection=connection
            )
    except _FoundError:
        pass
    except Exception as error:  # noqa: BLE001 - each broker's client raises its own
        lines = str(error).strip().splitlines()
        return Answers(names, lines[0] if lines else type(error).__name__)
    return Answers(names)


def _task_names(answer: Any) -> Iterable[str]:
    for one in answer if isinstance(answer, list) else ():
        # A rate limit stands behind the name.
        name = str(one).partition(" [")[0]
        if not name.startswith(_CELERYS):
            yield name


def _queue_names(answer: Any) -> Iterable[str]:
    for one in answer if isinstance(answer, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("name"), str):
            yield one["name"]
