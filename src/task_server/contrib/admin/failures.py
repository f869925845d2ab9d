"""The pages of the tasks that failed for good."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from task_server.actions import failed as actions
from task_server.contrib.admin import failed
from task_server.contrib.admin.failed import Asked, Row, row_of
from task_server.contrib.admin.listing import Heading, Listing, around, given_in
from task_server.contrib.admin.page import Look, Page, name_of
from task_server.contrib.admin.text import link_of_list, short, visible
from task_server.monitor import failures
from task_server.monitor.failure import Failure, Filter

#: Tasks that the page on dropping them names.
NAMED: Final = 20

#: Tasks of which a message says why they stay.
FEW: Final = 3

#: Seconds for what is done to many; a Redis that hangs is noticed within one.
LONG: Final = 25.0

HEADINGS: Final = tuple(
    Heading(name, title, is_number, "", "")
    for name, title, is_number in (
        ("task", gettext_lazy("task"), False),
        ("error", gettext_lazy("error"), False),
        ("at", gettext_lazy("failed"), True),
        ("tries", gettext_lazy("tries"), True),
        ("queue", gettext_lazy("queue, worker"), False),
    )
)

KINDS: Final = (("failed", gettext_lazy("Failed")), ("crashed", gettext_lazy("Dead letters")))

TIMES: Final = (
    ("hour", gettext_lazy("Past hour")),
    ("today", gettext_lazy("Today")),
    ("week", gettext_lazy("Past 7 days")),
)


#: What of a snapshot's troubles is about these.
ABOUT: Final = ("dead letters", "failed tasks")

#: Choices of one filter.
CHOICES: Final = 30


class FailedTaskAdmin(Page):
    """The failed tasks of the broker, and one of them."""

    kind: ClassVar[str] = "failedtask"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """Show the failed tasks, the latest first; do what is asked to those that are chosen."""
        self.must_view(request)
        given = given_in(request.GET)
        asked = asked_in(given)
        if request.method == "POST":
            return self._chosen(request, asked)
        look = self.look(read=lambda client, keys, _: failed.find(client, keys, asked))
        tasks = () if look.found is None else (one.task for one in look.found.tasks)
        context = self.looked(look, {*ABOUT, *tasks})
        if look.more is not None:
            context |= {
                "list": self._listing(look, given),
                "is_complete": look.more.is_complete,
                "now": repr(look.found.at if look.found else 0.0),
                "address": visible(f"?{request.GET.urlencode()}"),
            }
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
        look = self.look(read=lambda client, keys, _: failures.one(client, keys, name))
        context = self.looked(look, ())
        if look.found is not None and not look.unread:
            if look.more is None:
                return self.absent(request, name)
            if request.method == "POST":
                return self._do(request, [look.more])
            row = row_of(self.admin_site, look.more, look.found.at)
            context |= {"row": row, "pairs": list(_pairs(row)), "texts": list(_texts(row))}
            context["history_url"] = self.history(name)
        return self.render(request, "failure", _("Failed task"), context)

    def _listing(self, look: Look, given: dict[str, str]) -> Listing[Row]:
        assert look.found is not None  # noqa: S101 - for the types
        now, more = look.found.at, look.more
        rows = [row_of(self.admin_site, one, now) for one in more.failures]
        every: Sequence[Any] = range(more.count)
        page = Paginator(every, failed.ROWS).get_page(given.get("p"))
        # Those that have been read, in the place of their numbers.
        page.object_list = rows
        return around(
            page,
            given,
            total=more.total,
            headings=HEADINGS,
            choices=[
                ("kind", _("kind"), KINDS),
                ("time", _("time"), TIMES),
                ("task", _("task"), _some("task", more.failures, given)),
                ("error", _("error"), _some("error", more.failures, given)),
                ("queue", _("queue"), _some("queue", more.failures, given)),
            ],
        )

    def _chosen(self, request: HttpRequest, asked: Asked) -> HttpResponse:
        """Do what is asked to those that are chosen: by name, or all that match."""
        self.must_change(request)
        if request.POST.get("select_across") == "1":
            # Those that failed since the user looked are not among what was chosen.
            until = _number(request.POST.get("_before"))
            found = self.change(
                request,
                lambda client, keys: failed.every_one(client, keys, asked.until(until)),
                LONG,
            )
        else:
            names = [failed.key_of(one) for one in request.POST.getlist("_selected_action")]
            known = [name for name in names if name is not None]
            found = self.change(request, lambda client, keys: failures.named(client, keys, known))
        if found is None:
            return self.to_list(request)
        if not found:
            messages.warning(request, _("No tasks are selected, or they are gone."))
            return self.to_list(request)
        return self._do(request, found)

    def _do(self, request: HttpRequest, found: Sequence[Failure]) -> HttpResponse:
        self.must_change(request)
        asked = request.POST.get("action", "")
        if asked == "retry":
            return self._retry(request, found)
        if asked == "drop" and request.POST.get("_confirmed") == "yes":
            return self._drop(request, found)
        if asked == "drop":
            return self._confirm(request, found)
        messages.warning(request, _("No action selected."))
        return self.to_list(request)

    def _retry(self, request: HttpRequest, found: Sequence[Failure]) -> HttpResponse:
        who = self.who(request)
        outcome = self.change(
            request, lambda client, keys: actions.retry(client, keys, found, who), LONG
        )
        if outcome is not None:
            stay = {one.key for one, _ in outcome.refused}
            self._note(request, [one for one in found if one.key not in stay], _("Retried."))
            said = ngettext(
                "%(count)d task is back in its queue.",
                "%(count)d tasks are back in their queues.",
                outcome.done,
            )
            self._say(request, outcome, said % {"count": outcome.done})
        return self.to_list(request)

    def _drop(self, request: HttpRequest, found: Sequence[Failure]) -> HttpResponse:
        who = self.who(request)
        outcome = self.change(
            request, lambda client, keys: actions.drop(client, keys, found, who), LONG
        )
        if outcome is not None:
            self._note(request, found, _("Dropped."))
            said = ngettext(
                "%(count)d task is dropped.", "%(count)d tasks are dropped.", outcome.done
            )
            self._say(request, outcome, said % {"count": outcome.done})
        return self.to_list(request)

    def _say(self, request: HttpRequest, outcome: actions.Outcome, said: str) -> None:
        """Say what was done, and what was not, with the reasons."""
        if outcome.done:
            messages.success(request, said)
        for one, why in outcome.refused[:FEW]:
            words = {"task": short(f"{one.task}[{one.id}]", 100), "why": short(why, 100)}
            messages.warning(request, _("%(task)s stays: %(why)s.") % words)
        if len(outcome.refused) > FEW:
            more = {"count": len(outcome.refused) - FEW}
            messages.warning(request, _("%(count)d more stay.") % more)
        if outcome.gone:
            messages.warning(request, _("%(count)d were gone.") % {"count": outcome.gone})

    def _confirm(self, request: HttpRequest, found: Sequence[Failure]) -> HttpResponse:
        """Ask whether *found* shall be deleted for good."""
        across = request.POST.get("select_across") == "1"
        query = f"?{request.GET.urlencode()}" if across else ""
        context = {
            "rows": [row_of(self.admin_site, one, one.at) for one in found[:NAMED]],
            "more": max(0, len(found) - NAMED),
            "count": len(found),
            "chosen": [] if across else [failed.token_of(one.key) for one in found],
            "across": across,
            "now": visible(request.POST.get("_before", "")),
            "kept": visible(request.POST.get("_list", "")),
            "action_url": f"{link_of_list(self.admin_site, self.kind)}{query}",
        }
        return self.render(request, "drop", _("Are you sure?"), context)

    def _note(self, request: HttpRequest, found: Sequence[Failure], remark: str) -> None:
        """Put *remark* into Django's log: on each of a few, and once on many."""
        if len(found) <= NAMED:
            for one in found:
                self.note(request, one.key, f"{remark} {one.task}[{one.id}]")
        else:
            self.note(request, _("%(count)d tasks") % {"count": len(found)}, remark)


def asked_in(given: dict[str, str]) -> Asked:
    """Return which failures the parameters *given* ask for."""
    since = None
    now = timezone.now()
    match given.get("time"):
        case "hour":
            since = now - timedelta(hours=1)
        case "today":
            local = now.astimezone(timezone.get_current_timezone())
            since = local.replace(hour=0, minute=0, second=0, microsecond=0)
        case "week":
            since = now - timedelta(days=7)
    return Asked(
        chosen=Filter(
            queue=given.get("queue") or None,
            since=None if since is None else since.timestamp(),
            crashed=given.get("kind") == "crashed",
        ),
        task=given.get("task", ""),
        error=given.get("error", ""),
        is_failed=given.get("kind") == "failed",
        words=tuple(given.get("q", "").lower().split()),
        page=given.get("p", ""),
    )


def _some(name: str, found: Sequence[Failure], given: dict[str, str]) -> list[tuple[str, str]]:
    """Return choices of the attribute *name* of *found*; the chosen one is among them."""
    chosen = given.get(name, "")
    every = {*(getattr(one, name) for one in found), chosen} - {""}
    if len(every) < 2 and not chosen:  # noqa: PLR2004 - one is no choice
        return []
    return [(one, short(one)) for one in sorted(every)[:CHOICES]]


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _pairs(row: Row) -> Iterator[tuple[str, str, str]]:
    """Return the short facts of the page on *row*, each with the address that it leads to."""
    one = row.failure
    yield _("Task"), row.task, ""
    yield _("Id"), row.id, ""
    yield _("Error"), row.error_type, ""
    yield _("Failed"), row.when, ""
    yield _("Kind"), short(one.reason), ""
    yield _("Queue"), row.queue, row.queue_url
    yield _("Worker"), row.worker, row.worker_url
    yield _("Process"), "" if one.pid is None else str(one.pid), ""
    yield _("Tries"), "" if one.tries is None else str(one.tries), ""


def _texts(row: Row) -> Iterator[tuple[str, str]]:
    """Return the long ones."""
    one = row.failure
    yield _("What it says"), failed.long_text(one.text)
    yield _("Traceback"), failed.long_text(one.traceback)
    yield _("Arguments"), failed.long_text(one.args)
    yield _("Keyword arguments"), failed.long_text(one.kwargs)
