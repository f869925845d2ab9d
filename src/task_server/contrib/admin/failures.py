"""The pages of the tasks that failed for good."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from task_server.contrib.admin.failed import Row, all_of, drop, retry, row_of
from task_server.contrib.admin.listing import Column, Filter, Listing, listing
from task_server.contrib.admin.page import Look, Page, name_of
from task_server.contrib.admin.text import link_of_list
from task_server.monitor import Snapshot

#: Tasks that the page on dropping them names.
NAMED: Final = 20

COLUMNS: tuple[Column[Row], ...] = (
    Column("task", gettext_lazy("task"), lambda row: row.task),
    Column("error", gettext_lazy("error"), lambda row: row.error),
    Column("at", gettext_lazy("failed"), lambda row: row.seconds, is_number=True),
    Column("tries", gettext_lazy("tries"), lambda row: row.tries, is_number=True),
    Column("queue", gettext_lazy("queue, worker"), lambda row: row.queue),
)

FILTERS: tuple[Filter[Row], ...] = (
    Filter("reason", gettext_lazy("reason"), lambda row: (row.reason,)),
    Filter("task", gettext_lazy("task"), lambda row: (row.task,)),
    Filter("queue", gettext_lazy("queue"), lambda row: (row.queue,)),
)


class FailedTaskAdmin(Page):
    """The failed tasks of the broker, and one of them."""

    kind: ClassVar[str] = "failedtask"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """Show the failed tasks, the latest first; do what is asked to those that are chosen."""
        self.must_view(request)
        look = self.look(read=all_of)
        context = self.looked(look, name="")
        if look.found is not None:
            found = self._listing(request, look)
            if request.method == "POST":
                return self._chosen(request, look.found, found)
            context["list"] = found
            context |= {"now": repr(look.found.at), "address": f"?{request.GET.urlencode()}"}
        return self.render(request, "failures", _("Failed tasks"), context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002
        extra_context: Any = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Show one failed task; do what is asked to it."""
        self.must_view(request)
        name = name_of(object_id)
        look = self.look(read=all_of)
        context = self.looked(look, name="")
        if look.found is not None:
            mine = [one for one in look.more if one.tag == name]
            if not mine:
                return self.absent(request, name)
            row = row_of(self.admin_site, mine[0], look.found.at)
            if request.method == "POST":
                return self._do(request, look.found, [row])
            context |= {"row": row, "pairs": list(_pairs(row)), "texts": list(_texts(row))}
        return self.render(request, "failure", _("Failed task"), context)

    def _listing(self, request: HttpRequest, look: Look) -> Listing[Row]:
        now = look.found.at if look.found else 0.0
        return listing(
            [row_of(self.admin_site, one, now) for one in look.more],
            request.GET,
            columns=COLUMNS,
            filters=FILTERS,
            text=lambda row: f"{row.task} {row.id} {row.error} {row.args} {row.kwargs}",
            order="-at",
        )

    def _chosen(self, request: HttpRequest, found: Snapshot, shown: Listing[Row]) -> HttpResponse:
        """Do what is asked to the rows that are chosen: by name, or all that match."""
        self.must_change(request)
        if request.POST.get("select_across") == "1":
            # Those that failed since the user looked are not among what was chosen.
            before = _number(request.POST.get("_before"), found.at)
            rows = [one for one in shown.matching if (one.seconds or 0.0) <= before]
        else:
            names = set(request.POST.getlist("_selected_action"))
            rows = [one for one in shown.matching if one.key in names]
        if not rows:
            messages.warning(request, _("No tasks are selected, or they are gone."))
            return self.to_list(request)
        return self._do(request, found, rows)

    def _do(self, request: HttpRequest, found: Snapshot, rows: Sequence[Row]) -> HttpResponse:
        self.must_change(request)
        asked = request.POST.get("action", "")
        if asked == "retry":
            return self._retry(request, rows)
        if asked == "drop" and request.POST.get("_confirmed") == "yes":
            return self._drop(request, rows)
        if asked == "drop":
            return self._confirm(request, found, rows)
        messages.warning(request, _("No action selected."))
        return self.to_list(request)

    def _retry(self, request: HttpRequest, rows: Sequence[Row]) -> HttpResponse:
        whole = [row for row in rows if row.is_whole]
        done = self.change(request, lambda client, keys: retry(client, keys, whole))
        if done is not None:
            self._note(request, whole, _("Retried."))
            said = ngettext(
                "%(count)d task is back in its queue.",
                "%(count)d tasks are back in their queues.",
                done,
            )
            messages.success(request, said % {"count": done})
        if len(whole) < len(rows):
            said = ngettext(
                "%(count)d cannot be retried: its record has no message.",
                "%(count)d cannot be retried: their records have no message.",
                len(rows) - len(whole),
            )
            messages.warning(request, said % {"count": len(rows) - len(whole)})
        return self.to_list(request)

    def _drop(self, request: HttpRequest, rows: Sequence[Row]) -> HttpResponse:
        done = self.change(request, lambda client, keys: drop(client, keys, rows))
        if done is not None:
            self._note(request, rows, _("Dropped."))
            said = ngettext("%(count)d task is dropped.", "%(count)d tasks are dropped.", done)
            messages.success(request, said % {"count": done})
        return self.to_list(request)

    def _confirm(self, request: HttpRequest, found: Snapshot, rows: Sequence[Row]) -> HttpResponse:
        """Ask whether *rows* shall be deleted for good."""
        across = request.POST.get("select_across") == "1"
        context = {
            "rows": rows[:NAMED],
            "more": max(0, len(rows) - NAMED),
            "count": len(rows),
            "chosen": [] if across else [row.key for row in rows],
            "across": across,
            "now": request.POST.get("_before") or repr(found.at),
            "kept": request.POST.get("_list", ""),
            "action_url": f"{link_of_list(self.admin_site, self.kind)}"
            + (f"?{request.GET.urlencode()}" if across else ""),
        }
        return self.render(request, "drop", _("Are you sure?"), context)

    def _note(self, request: HttpRequest, rows: Sequence[Row], remark: str) -> None:
        """Put *remark* into Django's log: on each of a few, and once on many."""
        if len(rows) <= NAMED:
            for row in rows:
                self.note(request, row.key, f"{remark} {row.task}[{row.id}]")
        else:
            self.note(request, str(len(rows)), f"{remark} {len(rows)} tasks")


def _number(text: str | None, otherwise: float) -> float:
    try:
        return float(text or "")
    except ValueError:
        return otherwise


def _pairs(row: Row) -> Iterator[tuple[str, str]]:
    """Return the short facts of the page on *row*."""
    yield _("Task"), row.task
    yield _("Id"), row.id
    yield _("Queue"), row.queue
    yield _("Reason"), row.reason
    yield _("Error"), row.error
    yield _("Failed"), row.when
    yield _("Tries"), str(row.tries)
    yield _("Worker"), row.worker


def _texts(row: Row) -> Iterator[tuple[str, str]]:
    """Return the long ones."""
    yield _("Arguments"), row.args
    yield _("Keyword arguments"), row.kwargs
