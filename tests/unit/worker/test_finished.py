"""What adds up how tasks end: by Celery's own tracer, whatever the task or its message does."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, Task, signals
from celery.app.trace import build_tracer
from celery.exceptions import Ignore, Reject, Retry
from celery.signals import task_postrun, task_prerun

from task_server.worker.status.finished import Finished

#: What a message has of its route.
ROUTE = {"exchange": "", "routing_key": "q"}


class Batches(Task):
    """A task that is run in its own way, as those of celery-batches are."""

    abstract = True

    def Strategy(self, *_: Any) -> None:  # noqa: N802 - Celery's
        """Hand out nothing."""


def _make() -> Celery:
    app = Celery("finished", broker="memory://", backend="disabled://", set_as_current=False)
    app.conf.task_queues = []

    @app.task(name="work", shared=False)
    def work(do: Any = None) -> None:
        if isinstance(do, BaseException):
            raise do
        if do is not None:
            do()

    @app.task(name="batch", base=Batches, shared=False)
    def batch() -> None:
        """Be run by its own strategy."""

    app.finalize()
    return app


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app whose tasks are set up as a worker's."""
    receivers = [(signal, list(signal.receivers)) for signal in (task_prerun, task_postrun)]
    app = _make()
    set_up(app)
    yield app
    for signal, before in receivers:
        signal.receivers[:] = before


def set_up(app: Celery) -> None:
    """Give the tasks their tracers, as Celery does at each connection, and in each child."""
    for name, task in app.tasks.items():
        task.__trace__ = build_tracer(name, task, app.loader, "host", app=app)


@pytest.fixture
def finished(app: Celery) -> Finished:
    """What watches the tasks of *app*."""
    found = Finished()
    found.install(app)
    found.watch()
    return found


def run(app: Celery, *args: Any, name: str = "work", **request: Any) -> Any:
    """Run one task of *app* as a worker does."""
    fields = {"id": "id", "delivery_info": ROUTE, "is_eager": False, **request}
    return app.tasks[name].__trace__("id", args, {}, fields)


def counted(finished: Finished) -> dict[Any, dict[str, int]]:
    """Return what was added, without the times."""
    return {
        row: {name: one for name, one in numbers.items() if name not in ("run", "wait")}
        for row, numbers in finished.changes()
    }


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, "succeeded"),
        (ValueError("bad"), "failed"),
        (Retry(), "retried"),
        (Ignore(), "rejected"),
        (Reject("no"), "rejected"),
    ],
)
def test_each_way_to_end(
    app: Celery, finished: Finished, error: Exception | None, end: str
) -> None:
    """
    It is added once, with how long it ran, to its task and its queue.
    """
    run(app, error)
    (numbers,) = counted(finished).values()

    assert numbers.pop(end) == 1
    assert ["r"] == [name[0] for name in numbers]
    assert {} == counted(finished)


def test_nothing_listens_to_celerys_signals(app: Celery, finished: Finished) -> None:
    """
    Each send with a receiver costs a task more than all that is added up; only a task with a
    strategy of its own, which Celery's tracer may not run, is heard by them.
    """
    heard = [key for signal in (task_prerun, task_postrun) for key, _ in signal.receivers]

    assert [id(app.tasks["batch"])] * 2 == [sender for name, sender in heard if name == "batch"]
    assert not [name for name, _ in heard if name == "work"]
    task = app.tasks["batch"]
    task.push_request(id="b", is_eager=False)
    signals.task_prerun.send(sender=task, task=task)
    signals.task_postrun.send(sender=task, task=task, state="SUCCESS")
    task.pop_request()
    assert [1] == [numbers["succeeded"] for numbers in counted(finished).values()]


def test_what_is_interrupted_has_not_ended(app: Celery, finished: Finished) -> None:
    """
    Its message is delivered again.
    """
    with pytest.raises(KeyboardInterrupt):
        run(app, KeyboardInterrupt())

    assert {} == counted(finished)


def test_it_is_set_up_once_for_each_tracer(app: Celery, finished: Finished) -> None:
    """
    Celery makes new ones at each connection; none is wrapped twice.
    """
    finished.watch()
    run(app)
    first = counted(finished)
    set_up(app)
    finished.watch()
    finished.watch()
    run(app)

    assert [1] == [numbers["succeeded"] for numbers in first.values()]
    assert [1] == [numbers["succeeded"] for numbers in counted(finished).values()]


@pytest.mark.parametrize(
    "request_",
    [
        {"delivery_info": None},
        {"delivery_info": {"exchange": [], "routing_key": {}}},
        {"task-server-sent": "x", "eta": 7, "delivery_info": {}},
        {"task-server-sent": [1e400, {}], "sentry-task-enqueued-time": "now"},
        {"task-server-sent": [2.0, 0], "retries": 0, "eta": "0001-01-01T00:00:00+23:59"},
    ],
)
def test_hostile_messages_change_nothing(
    app: Celery, finished: Finished, request_: dict[str, Any]
) -> None:
    """
    The task ends as it does without; whoever sends one may write anything.
    """
    assert run(app, **request_).info is None
    assert not [row for row, numbers in counted(finished).items() if numbers["succeeded"] != 1]


def test_how_long_it_waited(app: Celery, finished: Finished) -> None:
    """
    Since it was sent, by our stamp or that of sentry-sdk; else it is not known.
    """
    run(app, **{"task-server-sent": [1.0, 0], "retries": 0})
    run(app, **{"sentry-task-enqueued-time": 1.0})
    run(app)
    run(app, **{"task-server-sent": [1.0, 0], "retries": 2})
    (numbers,) = counted(finished).values()

    assert (4, 2) == (numbers["succeeded"], numbers["waited"])


def test_one_that_runs_here_is_not_added_from_outside(app: Celery, finished: Finished) -> None:
    """
    Such as one that fails with what stands for a lost child; it is added when it ends.
    """
    task = app.tasks["work"]
    run(app, lambda: finished.add(task, task.request, "failed", None))
    (inside,) = counted(finished).values()
    task.push_request(id="id")
    finished.add(task, task.request, "failed", None)
    task.pop_request()
    (outside,) = counted(finished).values()

    assert ("failed" in inside, inside["succeeded"], outside["failed"]) == (False, 1, 1)


def test_a_fork_of_a_task_adds_nothing(app: Celery, finished: Finished) -> None:
    """
    It shares no memory with this process.
    """
    finished.in_fork()
    run(app)

    assert {} == counted(finished)
