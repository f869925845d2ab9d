"""
Which messages a child runs for itself: those of Celery's protocol 2 that only wait to be run.

All others it hands over to the main process, which does with them what it does with each
message of the engine `central`: with an ETA or an end, a rate limit, a history of crashes, time
limits too short to be watched from outside, what was revoked, what is acknowledged before it
runs, tasks with a strategy or a request of their own, and whatever cannot be read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from celery.app.task import Task
from kombu.serialization import loads, prepare_accept_content
from kombu.utils.encoding import str_to_bytes

from task_server.transport.large import FastBase64, loaded
from task_server.worker.direct.notice import Terms
from task_server.worker.direct.slot import TEXT, Fetched

if TYPE_CHECKING:
    from collections.abc import Collection

#: Seconds; the main process looks at what a child runs several times in a shorter time.
SHORTEST_LIMIT: Final = 1.0

#: What Celery's own tasks name.
REQUEST: Final = "celery.worker.request:Request"

_BASE64: Final = FastBase64()

#: Of a message that was with another worker, or a child, before.
_HISTORY: Final = ("deaths", "last_held")

#: Headers that say what the main process sees to.
_HEADERS: Final = ("eta", "expires", "compression", "shadow")


@dataclass(frozen=True, slots=True)
class Call:
    """What Celery's tracer needs."""

    name: str
    id: str
    request: dict[str, Any]
    body: tuple[Any, Any, Any]


class Judge:
    """
    Judges the messages of one child.

    Args:
        app: Celery's.

        hostname: Name of the worker.
    """

    def __init__(self, app: Any, hostname: str) -> None:
        self._tasks = {name for name, task in app.tasks.items() if is_plain(task)}
        self._accept = prepare_accept_content(app.conf.accept_content)
        self._hostname = hostname
        self._revoked: Collection[str] = ()
        self._limited: Collection[str] = ()
        self._stamps = False

    def use(self, terms: Terms) -> None:
        """Judge by *terms*."""
        self._revoked, self._limited = frozenset(terms.revoked), frozenset(terms.limited)
        self._stamps = terms.stamps

    def call(self, one: Fetched, before_body: Callable[[], object] = lambda: None) -> Call | None:
        """
        Return how to call the task of *one*; None if it is not for a child.

        Args:
            before_body: Called before the arguments are read, which may run code of the project,
                as with pickle, that ends this process, or never ends.
        """
        if len(one.text) > TEXT:
            return None
        try:
            return self._call(one, before_body)
        except Exception:  # noqa: BLE001 - the main process finds out what is wrong with it
            return None

    def may_run(self, call: Call) -> bool:
        """Whether *call* was neither revoked nor its task limited meanwhile."""
        return not (
            call.id in self._revoked
            or call.name in self._limited
            or (self._stamps and call.request.get("stamped_headers"))
        )

    def _call(self, one: Fetched, before_body: Callable[[], object]) -> Call | None:
        message = loaded(one.text)
        headers, properties = message["headers"], message["properties"]
        name, id_ = headers["task"], headers["id"]
        if name not in self._tasks or not isinstance(id_, str):
            return None
        if any(headers.get(each) is not None for each in _HEADERS):
            return None
        if any(each in message for each in _HISTORY) or properties["delivery_tag"] != one.tag:
            return None
        if not _is_watched(headers.get("timelimit")):
            return None
        before_body()
        body = self._body(message, properties)
        if body is None:
            return None
        delivery = properties["delivery_info"]
        # As celery.worker.request.Request makes it.
        headers.update(
            properties=properties,
            reply_to=properties.get("reply_to"),
            correlation_id=properties.get("correlation_id"),
            hostname=self._hostname,
            delivery_info={
                "exchange": delivery.get("exchange"),
                "routing_key": delivery.get("routing_key"),
                "priority": properties.get("priority"),
                "redelivered": delivery.get("redelivered", False),
            },
        )
        return Call(name, id_, headers, body)

    def _body(self, message: Any, properties: Any) -> tuple[Any, Any, Any] | None:
        encoding, body = properties.get("body_encoding"), message["body"]
        if encoding == "base64":
            body = _BASE64.decode(body)
        elif encoding:
            return None
        found = loads(
            str_to_bytes(body),
            message["content-type"],
            message["content-encoding"],
            accept=self._accept,
        )
        if not isinstance(found, list | tuple):
            return None
        args, kwargs, embed = found
        if not isinstance(args, list | tuple) or not isinstance(kwargs, dict):
            return None
        return (args, kwargs, embed) if embed is None or isinstance(embed, dict) else None


def is_plain(task: Any) -> bool:
    """Return whether a child may run *task* for itself."""
    return bool(
        task.acks_late
        and task.Strategy == Task.Strategy
        and task.Request == REQUEST
        and _is_watched((task.time_limit, task.soft_time_limit))
    )


def _is_watched(limits: Any) -> bool:
    """Return whether the main process can watch over these time limits."""
    if limits is None:
        return True
    first, second = limits
    return all(
        one is None
        or (isinstance(one, int | float) and not isinstance(one, bool) and one >= SHORTEST_LIMIT)
        for one in (first, second)
    )
