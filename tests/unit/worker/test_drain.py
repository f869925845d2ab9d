"""What a worker says that it runs."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from task_server.config.model import BUILT_IN_WORKERS
from task_server.worker.shutdown.drain import Drain
from tests.support.specs import spec_of


@dataclass(eq=False)
class Request:
    """A request that has not said that it starts; *started* is what its pool knows."""

    tag: str
    started: bool
    time_start: float | None = None

    @property
    def message(self) -> SimpleNamespace:
        """Its message."""
        return SimpleNamespace(delivery_tag=self.tag)


def test_what_was_started_and_has_not_said_so_runs() -> None:
    """
    A greenlet that is spawned, a job that is written to a child: both go on without a connection.
    """
    heartbeat: Any = None
    drain = Drain(spec_of(BUILT_IN_WORKERS["gevent"]), heartbeat, lambda _: None)
    requests = [
        Request("runs", started=True, time_start=1.0),
        Request("spawned", started=True),
        Request("waits", started=False),
    ]
    tasks: Any = SimpleNamespace(running=lambda some: [one for one in some if one.started])
    drain.tasks = tasks
    for request in requests:
        drain.received.add(request)

    assert {"runs", "spawned"} == drain.running_tags()
    # Only what may have crashed the worker is reported.
    assert {"runs"} == drain.started_tags()
