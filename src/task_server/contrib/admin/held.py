"""The messages in flight of a queue or a worker, as a list."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext_lazy

from task_server.contrib.admin.listing import Column, Filter, Listing, listing
from task_server.contrib.admin.text import clock, link, short
from task_server.monitor import Snapshot, Worker
from task_server.monitor.troubles import span
from task_server.transport.store.in_flight import InFlight


@dataclass(frozen=True, slots=True)
class Row:
    """
    A message that a worker has.

    Attributes:
        since: When its task started, or else when it was fetched; `seconds` ago.
    """

    message: InFlight
    task: str
    id: str
    queue: str
    queue_url: str
    node: str
    node_url: str
    state: str
    seconds: float | None
    span: str
    since: str
    until: str


COLUMNS: tuple[Column[Row], ...] = (
    Column("task", gettext_lazy("task"), lambda row: row.message.task),
    Column("state", gettext_lazy("state"), lambda row: row.state),
    Column("for", gettext_lazy("for"), lambda row: row.seconds, is_number=True),
    Column("lease", gettext_lazy("lease until"), lambda row: row.message.lease_until),
    Column("queue", gettext_lazy("queue"), lambda row: row.message.queue),
    Column("worker", gettext_lazy("worker"), lambda row: row.message.node),
)

FILTERS: tuple[Filter[Row], ...] = (
    Filter(
        "state",
        gettext_lazy("state"),
        lambda row: (row.state,),
        (
            ("running", gettext_lazy("running")),
            ("fetched", gettext_lazy("fetched")),
            ("stopped", gettext_lazy("stopped")),
        ),
    ),
    Filter("task", gettext_lazy("task"), lambda row: (row.message.task,)),
)


def held(
    site: Any,
    found: Snapshot,
    asked: QueryDict,
    *,
    queue: str | None = None,
    worker: Worker | None = None,
) -> Listing[Row]:
    """Return the messages in flight of a *queue* or a *worker*, the oldest first."""
    without = "queue" if worker is None else "worker"
    return listing(
        [
            _row(site, found, message, owner)
            for owner, message in _messages(found, worker)
            if queue in (None, message.queue)
        ],
        asked,
        columns=[one for one in COLUMNS if one.name != without],
        filters=FILTERS,
        text=lambda row: f"{row.message.task} {row.message.id} {row.message.queue}",
        order="-for",
    )


def _messages(found: Snapshot, worker: Worker | None) -> Iterator[tuple[Worker | None, InFlight]]:
    for one in found.workers if worker is None else (worker,):
        for message in one.in_flight:
            yield one, message
    if worker is None:
        for message in found.unowned:
            yield None, message


def _state(message: InFlight, owner: Worker | None) -> str:
    if owner is not None and message.tag in {one.tag for one in owner.stopped}:
        return "stopped"
    return "fetched" if owner is None or message.tag not in owner.started else "running"


def _row(site: Any, found: Snapshot, message: InFlight, owner: Worker | None) -> Row:
    started = None if owner is None else owner.started.get(message.tag)
    since = message.fetched_at if started is None else started
    seconds = None if since is None else max(0.0, found.at - since)
    return Row(
        message=message,
        task=short(message.task),
        id=short(message.id),
        queue=short(message.queue),
        queue_url=link(site, "queue", message.queue),
        node=short(message.node),
        node_url=link(site, "worker", message.node) if message.node else "",
        state=_state(message, owner),
        seconds=seconds,
        span="" if seconds is None else span(seconds),
        since=clock(since, found.at),
        until=clock(message.lease_until, found.at),
    )
