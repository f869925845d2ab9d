"""What a worker says that it runs."""

from types import SimpleNamespace
from typing import Any

from task_server.config.model import BUILT_IN_WORKERS
from task_server.worker.shutdown.drain import Drain
from tests.support.specs import spec_of


def test_what_was_started_and_has_not_said_so_runs() -> None:
    """
    A greenlet that is spawned, a job that is written to a child: both go on without a connection.
    """
    heartbeat: Any = None
    drain = Drain(spec_of(BUILT_IN_WORKERS["gevent"]), heartbeat)
    requests = [
        SimpleNamespace(message=SimpleNamespace(delivery_tag=tag), time_start=None, started=started)
        for tag, started in (("spawned", True), ("waits", False))
    ]
    tasks: Any = SimpleNamespace(running=lambda some: [one for one in some if one.started])
    drain.tasks = tasks
    for request in requests:
        drain.received.add(request)

    assert {"spawned"} == drain.running_tags()
