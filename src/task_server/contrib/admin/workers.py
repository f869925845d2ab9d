"""The pages of the workers."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from task_server import actions
from task_server.contrib.admin.held import held
from task_server.contrib.admin.listing import Column, Filter, listing
from task_server.contrib.admin.page import Page, name_of
from task_server.contrib.admin.text import clock, clock_elsewhere, link, moment, short
from task_server.monitor import Snapshot
from task_server.monitor import Worker as Found
from task_server.monitor.troubles import span


@dataclass(frozen=True, slots=True)
class Row:
    """
    A worker as its list shows it.

    Attributes:
        state: Of the snapshot; `unknown` of Celery's own, which do not register.

        oldest: Seconds for which its oldest task has been running.
    """

    worker: Found
    name: str
    url: str
    state: str
    shown_state: Any
    since: datetime | None
    seconds: float | None
    span: str
    oldest: float | None
    shown_oldest: str
    queues: str
    pool: str
    version: str


STATES = {
    "ready": gettext_lazy("ready"),
    "starting": gettext_lazy("starting"),
    "draining": gettext_lazy("draining"),
    "silent": gettext_lazy("silent"),
    "unknown": gettext_lazy("Celery's own"),
    "unregistered": gettext_lazy("not registered"),
}

COLUMNS: tuple[Column[Row], ...] = (
    Column("name", gettext_lazy("worker"), lambda row: row.worker.node),
    Column("state", gettext_lazy("state"), lambda row: row.state),
    Column("for", gettext_lazy("for"), lambda row: row.seconds, is_number=True),
    Column("running", gettext_lazy("running"), lambda row: row.worker.active, is_number=True),
    Column(
        "held", gettext_lazy("in flight"), lambda row: len(row.worker.in_flight), is_number=True
    ),
    Column("oldest", gettext_lazy("oldest task"), lambda row: row.oldest, is_number=True),
    Column("done", gettext_lazy("done"), lambda row: row.worker.processed, is_number=True),
    Column("queues", gettext_lazy("queues"), lambda row: row.queues),
)

FILTERS: tuple[Filter[Row], ...] = (
    Filter("state", gettext_lazy("state"), lambda row: (row.state,), tuple(STATES.items())),
    Filter("pool", gettext_lazy("pool"), lambda row: (row.worker.pool,)),
    Filter("queue", gettext_lazy("queue"), lambda row: row.worker.queues),
    Filter("version", gettext_lazy("version"), lambda row: (row.worker.version,)),
)

#: Where in a list those stand that need somebody.
WORST = ("silent", "unregistered", "draining", "starting", "unknown", "ready")


class WorkerAdmin(Page):
    """The workers of the broker, and one of them."""

    kind: ClassVar[str] = "worker"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """Show the workers, those that are silent first."""
        self.must_view(request)
        look = self.look()
        context = self.looked(look)
        if look.found is not None:
            rows = [self._row(one, look.found) for one in look.found.workers]
            context["list"] = listing(
                sorted(rows, key=lambda row: (WORST.index(row.state), row.worker.node)),
                request.GET,
                columns=COLUMNS,
                filters=FILTERS,
                text=lambda row: f"{row.worker.node} {row.worker.place} {row.queues}",
            )
        return self.render(request, "workers", _("Workers"), context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002
        extra_context: Any = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Show one worker."""
        self.must_view(request)
        name = name_of(object_id)
        if request.method == "POST":
            return self._do(request, name)
        look = self.look()
        context = self.looked(look, [name])
        if look.found is not None:
            # A node that came back may still have what its process before it had.
            mine = [one for one in look.found.workers if one.node == name]
            if not mine:
                return self.absent(request, name)
            context |= self._one(request, look.found, max(mine, key=lambda one: one.seen or 0.0))
            context["history_url"] = self.history(name)
        return self.render(request, "worker", short(name), context)

    def _one(self, request: HttpRequest, found: Snapshot, worker: Found) -> dict[str, Any]:
        return {
            "row": self._row(worker, found),
            "pairs": [(name, value) for name, value in _pairs(worker, found) if value],
            "queues": [(short(one), link(self.admin_site, "queue", one)) for one in worker.queues],
            "list": held(self.admin_site, found, request.GET, worker=worker),
        }

    def _do(self, request: HttpRequest, name: str) -> HttpResponse:
        """Do to the worker *name* what a form asks."""
        self.must_change(request)
        who = self.who(request)
        match request.POST.get("action"):
            case "drain":
                if self.change(
                    request, lambda client, keys: actions.drain(client, keys, name, who)
                ):
                    self.done(request, name, _("Drained: it takes nothing until it is resumed."))
            case "resume":
                if self.change(
                    request, lambda client, keys: actions.resume_node(client, keys, name, who)
                ):
                    self.done(request, name, _("Resumed."))
            case "requeue":
                say = clock_elsewhere()
                back = self.change(
                    request, lambda client, keys: actions.requeue(client, keys, name, who, say=say)
                )
                if back is not None:
                    words = {"count": back.count}
                    self.done(request, name, _("Requeued: %(count)d messages.") % words)
            case _:
                messages.warning(request, _("No action selected."))
        return self.back(request, name)

    def _row(self, worker: Found, found: Snapshot) -> Row:
        is_drained = bool(worker.drained) and worker.state == "ready"
        state = worker.state or ("unregistered" if worker.run else "unknown")
        state = "draining" if is_drained else state
        seconds = None if worker.since is None else max(0.0, found.at - worker.since)
        oldest = min(worker.started.values(), default=None)
        running = None if oldest is None else max(0.0, found.at - oldest)
        return Row(
            worker=worker,
            name=short(worker.node),
            url=link(self.admin_site, "worker", worker.node),
            state=state,
            shown_state=STATES[state],
            since=moment(worker.since),
            seconds=seconds,
            span="" if seconds is None else span(seconds),
            oldest=running,
            shown_oldest="" if running is None else span(running),
            queues=short(", ".join(worker.queues), 200),
            pool=short(worker.pool),
            version=short(worker.version),
        )


def _pairs(worker: Found, found: Snapshot) -> Iterator[tuple[str, str]]:
    """Return what a worker says of its process."""
    yield _("Host"), short(worker.host)
    yield _("Machine"), short(worker.machine)
    yield _("Process"), "" if worker.pid is None else str(worker.pid)
    yield _("Pool"), short(worker.pool)
    yield _("Version"), short(worker.version)
    yield _("Last registered"), clock(worker.seen, found.at)
    yield _("In this state since"), clock(worker.since, found.at)
    yield (
        _("Stopped processes"),
        ", ".join(f"{one.pid} ({clock(one.since, found.at)})" for one in worker.stopped),
    )
    yield _("Not ready"), short(worker.unready, 500)
