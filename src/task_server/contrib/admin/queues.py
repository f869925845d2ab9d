"""The pages of the queues."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from task_server.contrib.admin.held import held
from task_server.contrib.admin.listing import Column, Filter, listing
from task_server.contrib.admin.page import Page, name_of
from task_server.contrib.admin.text import link, short, visible
from task_server.monitor import Age, Snapshot
from task_server.monitor import Queue as Found
from task_server.monitor.troubles import span


@dataclass(frozen=True, slots=True)
class Row:
    """A queue as its list shows it."""

    queue: Found
    name: str
    url: str
    oldest: str
    by_priority: str
    workers: str
    states: tuple[str, ...]


STATES = (
    ("waiting", gettext_lazy("messages wait")),
    ("in-flight", gettext_lazy("messages are in flight")),
    ("delayed", gettext_lazy("tasks are delayed")),
    ("unserved", gettext_lazy("no worker takes from it")),
    ("unreadable", gettext_lazy("cannot be read")),
)

COLUMNS: tuple[Column[Row], ...] = (
    Column("name", gettext_lazy("queue"), lambda row: row.queue.name),
    Column("waiting", gettext_lazy("waiting"), lambda row: row.queue.length, is_number=True),
    Column(
        "oldest",
        gettext_lazy("oldest"),
        lambda row: row.queue.oldest.seconds if row.queue.oldest else None,
        is_number=True,
    ),
    Column("in_flight", gettext_lazy("in flight"), lambda row: row.queue.in_flight, is_number=True),
    Column("delayed", gettext_lazy("delayed"), lambda row: row.queue.delayed, is_number=True),
    Column(
        "workers", gettext_lazy("workers"), lambda row: len(row.queue.consumers), is_number=True
    ),
)

FILTERS: tuple[Filter[Row], ...] = (
    Filter("state", gettext_lazy("state"), lambda row: row.states, STATES),
    Filter("worker", gettext_lazy("worker"), lambda row: row.queue.consumers),
)


class QueueAdmin(Page):
    """The queues of the broker, and one of them."""

    kind: ClassVar[str] = "queue"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """Show the queues, the one that waits longest first."""
        self.must_view(request)
        look = self.look()
        context = self.looked(look)
        if look.found is not None:
            context["list"] = listing(
                [self._row(one) for one in look.found.queues],
                request.GET,
                columns=COLUMNS,
                filters=FILTERS,
                text=lambda row: row.queue.name,
                order="-oldest",
            )
        return self.render(request, "queues", _("Queues"), context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002
        extra_context: Any = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Show one queue."""
        self.must_view(request)
        name = name_of(object_id)
        look = self.look(name)
        context = self.looked(look, name)
        if look.found is not None:
            context |= self._one(request, look.found, name)
        return self.render(request, "queue", short(name), context)

    def _one(self, request: HttpRequest, found: Snapshot, name: str) -> dict[str, Any]:
        (queue,) = (one for one in found.queues if one.name == name)
        return {
            "row": self._row(queue),
            "consumers": [
                (short(node), link(self.admin_site, "worker", node)) for node in queue.consumers
            ],
            "waiting": sorted(queue.waiting.items()),
            "trouble": visible(queue.trouble),
            "list": held(self.admin_site, found, request.GET, queue=name),
        }

    def _row(self, queue: Found) -> Row:
        by_priority = sorted(queue.waiting.items())
        return Row(
            queue=queue,
            name=short(queue.name),
            url=link(self.admin_site, "queue", queue.name),
            oldest=age(queue.oldest),
            by_priority=", ".join(f"{step}: {count}" for step, count in by_priority)
            if set(queue.waiting) - {0}
            else "",
            workers=short(", ".join(queue.consumers), 500),
            states=tuple(_states(queue)),
        )


def age(one: Age | None) -> str:
    """Return an age as people say it; ≥ where it may be more."""
    if one is None:
        return "?"
    if not one.seconds and one.is_exact:
        return ""
    return span(one.seconds) if one.is_exact else f"≥ {span(one.seconds)}"


def _states(queue: Found) -> Iterator[str]:
    if queue.length:
        yield "waiting"
    if queue.in_flight:
        yield "in-flight"
    if queue.delayed:
        yield "delayed"
    if not queue.consumers:
        yield "unserved"
    if queue.trouble:
        yield "unreadable"
