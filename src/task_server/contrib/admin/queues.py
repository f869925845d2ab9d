"""The pages of the queues."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from task_server import actions
from task_server.contrib.admin.broker import project_app, queue_names
from task_server.contrib.admin.graphs import Graph
from task_server.contrib.admin.held import held
from task_server.contrib.admin.lastday import Day, last_day
from task_server.contrib.admin.listing import Column, Filter, listing
from task_server.contrib.admin.page import Page, name_of
from task_server.contrib.admin.text import link, moment, short, visible
from task_server.monitor import Age, Rate, Snapshot
from task_server.monitor import Queue as Found
from task_server.monitor.troubles import span
from task_server.transport.store.keys import Keys


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
    rate_in: str
    rate_out: str
    graph: Graph | None


#: Below it a number has a decimal.
TEN: Final = 10

#: Tasks of one queue that are listed.
TASKS: Final = 100

#: Seconds for a purge; a Redis that hangs is noticed within one.
LONG: Final = 25.0

STATES = (
    ("waiting", gettext_lazy("messages wait")),
    ("in-flight", gettext_lazy("messages are in flight")),
    ("delayed", gettext_lazy("tasks are delayed")),
    ("paused", gettext_lazy("paused")),
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
    Column(
        "out",
        gettext_lazy("in, out / min"),
        lambda row: row.queue.rate_out.per_minute if row.queue.rate_out else None,
        is_number=True,
    ),
    Column("in_flight", gettext_lazy("in flight"), lambda row: row.queue.in_flight, is_number=True),
    Column("delayed", gettext_lazy("delayed"), lambda row: row.queue.delayed, is_number=True),
    Column(
        "workers", gettext_lazy("workers"), lambda row: len(row.queue.consumers), is_number=True
    ),
    Column("day", gettext_lazy("last day"), lambda row: row.graph.total if row.graph else 0),
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
        look = self.look(read=_day)
        context = self.looked(look)
        if look.found is not None:
            queues = sorted(look.found.queues, key=lambda one: (-one.length, one.name))
            context["list"] = listing(
                [self._row(one, look.more) for one in queues],
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
        if request.method == "POST":
            return self._do(request, name)
        look = self.look(name, read=_day)
        context = self.looked(look, [name])
        if look.found is not None:
            context |= self._one(request, look.found, name)
            context |= {
                "graph": look.more and look.more.of_queue(name),
                "tasks": look.more and tasks_of(look.found, look.more, name),
                "history_url": self.history(name),
            }
        return self.render(request, "queue", short(name), context)

    def _one(self, request: HttpRequest, found: Snapshot, name: str) -> dict[str, Any]:
        (queue,) = (one for one in found.queues if one.name == name)
        return {
            "row": self._row(queue, None),
            "paused_at": moment(queue.paused.at) if queue.paused else None,
            "consumers": [
                (short(node), link(self.admin_site, "worker", node)) for node in queue.consumers
            ],
            "waiting": sorted(queue.waiting.items()),
            "trouble": visible(queue.trouble),
            "list": held(self.admin_site, found, request.GET, queue=name),
        }

    def _do(self, request: HttpRequest, name: str) -> HttpResponse:
        """Do to the queue *name* what a form asks."""
        self.must_change(request)
        who = self.who(request)
        match request.POST.get("action"):
            case "pause":
                known = queue_names(project_app())
                stopped = self.change(
                    request,
                    lambda client, keys: actions.pause(client, keys, name, who, known=known),
                )
                if stopped is not None:
                    self.done(request, name, _("Paused."))
                    self._unbound(request, stopped.unbound)
            case "resume":
                if self.change(
                    request, lambda client, keys: actions.resume(client, keys, name, who)
                ):
                    self.done(request, name, _("Resumed."))
            case "purge":
                return self._purge(request, name, who)
            case _:
                messages.warning(request, _("No action selected."))
        return self.back(request, name)

    def _purge(self, request: HttpRequest, name: str, who: str) -> HttpResponse:
        """Delete what waits in the queue *name*, once the user has seen how much it is."""
        if request.POST.get("_confirmed") == "yes":
            purged = self.change(
                request, lambda client, keys: actions.purge(client, keys, name, who), LONG
            )
            if purged is not None:
                self.done(request, name, _("Purged: %(count)d messages.") % {"count": purged.total})
            return self.back(request, name)
        found = self.change(request, lambda client, keys: actions.count(client, keys, name))
        if found is None:
            return self.back(request, name)
        context = {
            "name": short(name),
            "waiting": sum(found.waiting.values()),
            "delayed": found.delayed,
            "back_url": link(self.admin_site, "queue", name),
        }
        return self.render(request, "purge", _("Are you sure?"), context)

    def _unbound(self, request: HttpRequest, nodes: Sequence[str]) -> None:
        if nodes:
            words = {"nodes": short(", ".join(nodes[:10]), 200)}
            messages.warning(request, _("These workers do not obey it: %(nodes)s") % words)

    def _row(self, queue: Found, day: Day | None) -> Row:
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
            rate_in=rate(queue.rate_in),
            rate_out=rate(queue.rate_out),
            graph=None if day is None else day.small(queue.name),
        )


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task of one queue: what it did in the last day, and how long it takes."""

    name: str
    graph: Graph
    median: str
    most: str
    waited: str


def tasks_of(found: Snapshot, day: Day, queue: str) -> list[TaskRow]:
    """Return the tasks of *queue*, those that failed most often in the last day first."""
    known = {one.task: one.total for one in found.tasks if one.queue == queue}
    rows = []
    for task, graph in day.of_tasks(queue)[:TASKS]:
        total = known.get(task)
        rows.append(
            TaskRow(
                name=short(task),
                graph=graph,
                median=seconds(total.ran.quantile(0.5) if total else None),
                most=seconds(total.ran.quantile(0.95) if total else None),
                waited=seconds(total.waited.quantile(0.95) if total else None),
            )
        )
    return rows


def seconds(value: float | None) -> str:
    """Return a short time as people say it: 12 ms, 3.4 s, 12 min."""
    if value is None:
        return ""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < TEN else span(value)


def rate(one: Rate | None) -> str:
    """Return a rate a minute; ≥ where it may be more."""
    if one is None:
        return ""
    number = f"{one.per_minute:.0f}" if one.per_minute >= TEN else f"{one.per_minute:.1f}"
    number = number if one.per_minute else "0"
    return number if one.is_exact else f"≥ {number}"


def _day(client: Any, keys: Keys, found: Snapshot) -> Day:
    return last_day(client, keys, found.at)


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
    if queue.paused:
        yield "paused"
    if not queue.consumers:
        yield "unserved"
    if queue.trouble:
        yield "unreadable"
