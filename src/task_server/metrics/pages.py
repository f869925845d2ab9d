"""What is answered to which path; nothing of HTTP's connections."""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from task_server.metrics import demand, exposition
from task_server.metrics.looks import Looks
from task_server.metrics.starts import Starts
from task_server.metrics.values import Value, values
from task_server.monitor.model import Snapshot

#: Seconds that whoever asks waits for Redis; below two with all the rest.
PATIENCE: Final = 1.5

#: How old what /healthz says of Redis may be, and how long that waits; a probe has a second.
HEALTH_AGE: Final = 5.0
HEALTH_PATIENCE: Final = 0.5

JSON: Final = "application/json"

PATHS: Final = ("/metrics", "/queues/NAME", "/workers/NAME", "/healthz")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; its *body* is left out for HEAD."""

    status: HTTPStatus
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Pages:
    """
    Answers what is asked of the broker that *looks* takes looks at.

    Args:
        workers: The queues of each kind of worker.
    """

    def __init__(self, looks: Looks, workers: Mapping[str, Iterable[str]]) -> None:
        self._looks = looks
        self._workers = {name: tuple(queues) for name, queues in workers.items()}
        self._starts = Starts()
        self._lock = threading.Lock()

    def get(self, target: str) -> Answer:
        """Return the answer to GET *target*, a path with or without a query."""
        try:
            path = urlsplit(target).path
        except ValueError:
            return _unknown_path()
        if path == "/metrics":
            return self._metrics()
        if path == "/healthz":
            return self._health()
        kind, _, name = path.removeprefix("/").partition("/")
        name = unquote(name)
        if kind == "queues" and name:
            return self._demand(lambda found: demand.of_queue(found, name))
        if kind == "workers" and name:
            return self._demand(lambda found: demand.of_workers(found, name, self._workers))
        return _unknown_path()

    def _metrics(self) -> Answer:
        look = self._looks.get(PATIENCE)
        shown = [Value("task_server_up", (), look.snapshot is not None)]
        if look.snapshot is not None:
            shown.append(Value("task_server_snapshot_seconds", (), look.seconds))
            shown.extend(values(look.snapshot))
            with self._lock:
                shown.extend(self._starts.seen(look.snapshot.workers))
        return Answer(HTTPStatus.OK, exposition.text(shown), exposition.CONTENT_TYPE)

    def _demand(self, count: Callable[[Snapshot], dict[str, Any]]) -> Answer:
        look = self._looks.get(PATIENCE)
        if look.snapshot is None:
            return _unavailable(look.reason)
        try:
            return _json(HTTPStatus.OK, count(look.snapshot))
        except demand.UnknownError as error:
            said = {"error": str(error), "did_you_mean": error.near}
            return _json(HTTPStatus.NOT_FOUND, said)
        except demand.IncompleteError as error:
            return _unavailable(str(error))

    def _health(self) -> Answer:
        """Answer for this process, which a restart would not help; and for Redis beside it."""
        look = self._looks.last(HEALTH_AGE) or self._looks.get(HEALTH_PATIENCE)
        redis = {"answers": look.snapshot is not None, "reason": look.reason}
        return _json(HTTPStatus.OK, {"status": "ok", "redis": redis})


def not_allowed() -> Answer:
    """Return the answer to any method but GET and HEAD."""
    said = {"error": "only GET and HEAD: nothing is changed here"}
    return _json(HTTPStatus.METHOD_NOT_ALLOWED, said, Allow="GET, HEAD")


def failed() -> Answer:
    """Return the answer when the program itself failed."""
    return _json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "see the log of task-server metrics"})


def _unknown_path() -> Answer:
    said = {"error": "there is no such path", "paths": PATHS}
    return _json(HTTPStatus.NOT_FOUND, said)


def _unavailable(reason: str) -> Answer:
    return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": reason}, **{"Retry-After": "5"})


def _json(status: HTTPStatus, said: Mapping[str, Any], **headers: str) -> Answer:
    return Answer(status, f"{json.dumps(said)}\n".encode(), JSON, headers)
