"""What the pages have in common: who may, what the broker says, and a page where it is silent."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import django
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from redis.exceptions import ResponseError

from task_server.contrib.admin.broker import BrokerError, ask, project_app, queue_names
from task_server.contrib.admin.server import facts
from task_server.contrib.admin.text import clock, link, link_of_list, short, visible
from task_server.errors import TaskServerError
from task_server.monitor import Snapshot, snapshot
from task_server.monitor.troubles import Limits, Trouble, troubles
from task_server.transport.store.keys import Keys

#: Messages of a page are cookies for some projects, which have few bytes.
MESSAGE: Final = 300

#: Templates of lists; the others are about one thing of a list.
LISTS: Final = ("queues", "workers", "failures")

#: Troubles that are shown at once; the template has the same number.
FIRST: Final = 5

#: The most of a name and of a remark in Django's log.
NAME: Final = 200
REMARK: Final = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """
    What one page has read.

    Attributes:
        error: Why it has read nothing; empty if it has.

        more: What the page has asked for beside the snapshot; None if Redis refused it.

        unread: Why.
    """

    found: Snapshot | None
    wrong: list[Trouble]
    error: str
    more: Any = None
    unread: str = ""


if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class Page(ModelAdmin):
    """
    A list of things in Redis, and a page on each.

    Attributes:
        kind: The name of the model, in addresses.
    """

    kind: ClassVar[str]

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - as Django calls it
        """Nothing is made here."""
        return False

    def has_delete_permission(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Any = None,  # noqa: ARG002
    ) -> bool:
        """Nothing is deleted as Django would."""
        return False

    def get_object(
        self,
        request: HttpRequest,  # noqa: ARG002
        object_id: str,
        from_field: Any = None,  # noqa: ARG002
    ) -> Any:
        """Return what Django's page of the history is about, whatever Redis has."""
        return self.model(name=object_id)

    def look(self, *names: str, read: Callable[[Any, Keys, Snapshot], Any] | None = None) -> Look:
        """
        Return a snapshot of the broker, with the queues *names*, and what *read* finds beside it.

        *read* must not translate anything: it has a thread of its own.
        """

        def work(client: Any, keys: Keys) -> tuple[Snapshot, Any, str]:
            found = snapshot(client, keys, known)
            try:
                return found, None if read is None else read(client, keys, found), ""
            except ResponseError as error:
                return found, None, str(error)

        try:
            known = [*queue_names(project_app()), *names]
            found, more, unread = ask(work)
        except Exception as error:  # noqa: BLE001 - the project's own import may raise anything
            return Look(None, [], reason(error))
        say = partial(clock, now=found.at)
        return Look(found, troubles(found, Limits(), say), "", more, unread)

    def change(
        self, request: HttpRequest, work: Callable[[Any, Keys], T], seconds: float | None = None
    ) -> T | None:
        """
        Return what *work* returns, as `ask`; None if it failed, which the next page says.

        Raises:
            PermissionDenied: When the user may only see.
        """
        self.must_change(request)
        try:
            return ask(work, seconds)
        except Exception as error:  # noqa: BLE001 - said to the user
            messages.error(request, short(reason(error), MESSAGE))
            return None

    def who(self, request: HttpRequest) -> str:
        """Return the name of the user, for the audit."""
        return short(request.user.get_username(), NAME)

    def history(self, name: str) -> str:
        """Return the address of Django's log on the thing *name*."""
        return link(self.admin_site, self.kind, short(name, NAME), "history")

    def must_change(self, request: HttpRequest) -> None:
        """
        Let nobody pass who may only see.

        Raises:
            PermissionDenied: When the user may not change these.
        """
        if not self.has_change_permission(request):
            raise PermissionDenied

    def must_view(self, request: HttpRequest) -> None:
        """
        Let nobody pass who may not even see.

        Raises:
            PermissionDenied: When the user may not see these.
        """
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied

    def note(self, request: HttpRequest, name: str, remark: str) -> None:
        """Put *remark* on the thing *name* into Django's log, whose columns may hold no NUL."""
        self.log_change(request, self.model(name=short(name, NAME)), short(remark, REMARK))

    def render(
        self, request: HttpRequest, template: str, title: Any, context: Mapping[str, Any]
    ) -> HttpResponse:
        """Return the page *template*."""
        request.current_app = self.admin_site.name
        values = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "list_url": self.url(),
            "is_one": template not in LISTS,
            "has_listed_breadcrumbs": django.VERSION >= (6, 1),
            "may_change": self.has_change_permission(request),
            **context,
        }
        return TemplateResponse(request, f"task_server_admin/{template}.html", values)

    def looked(self, look: Look, about: Collection[str] | None = None) -> dict[str, Any]:
        """Return why there is nothing, or what is wrong: all of it, or what is *about* these."""
        if look.found is None:
            return {"unreachable": visible(look.error)}
        queues = {one.name for one in look.found.queues}
        workers = {one.node for one in look.found.workers}
        wrong = [one for one in look.wrong if about is None or one.what in about]
        return {
            "troubles": [self._trouble(one, queues, workers) for one in wrong],
            "more_troubles": len(wrong) - FIRST,
            "facts": facts(look.found),
            "unread": visible(look.unread),
        }

    def _trouble(self, one: Trouble, queues: set[str], workers: set[str]) -> dict[str, str]:
        url = ""
        if one.what in queues:
            url = link(self.admin_site, "queue", one.what)
        elif one.what in workers:
            url = link(self.admin_site, "worker", one.what)
        return {
            "level": one.level,
            "what": short(one.what),
            "message": short(one.message, 500),
            "repair": short(one.repair, 500),
            "url": url,
        }

    def url(self) -> str:
        """Return the address of the list."""
        return link_of_list(self.admin_site, self.kind)

    def done(self, request: HttpRequest, name: str, remark: str) -> None:
        """Say that something was done to the thing *name*, there and in its history."""
        self.note(request, name, remark)
        messages.success(request, short(f"“{short(name, 100)}”: {remark}", MESSAGE))

    def back(self, request: HttpRequest, name: str) -> HttpResponse:
        """Return the way back to where a form was: the list, or the page on *name*."""
        if "_list" in request.POST:
            return self.to_list(request)
        return HttpResponseRedirect(link(self.admin_site, self.kind, name) or self.url())

    def to_list(self, request: HttpRequest) -> HttpResponse:
        """Return the way back to the list, with the filters that it had."""
        kept = request.POST.get("_list", "")
        return HttpResponseRedirect(self.url() + (kept if kept.startswith("?") else ""))

    def absent(self, request: HttpRequest, name: str) -> HttpResponse:
        """Say on the page of the list that there is no *name*."""
        words = {"kind": self.opts.verbose_name, "name": short(name)}
        messages.warning(request, _("There is no %(kind)s “%(name)s”.") % words)
        return HttpResponseRedirect(self.url())


def name_of(object_id: str) -> str:
    """Return the name that is in an address."""
    return unquote(object_id)


def reason(error: Exception) -> str:
    """Return what to say of *error*, which came from asking the broker."""
    is_ours = isinstance(error, BrokerError | TaskServerError)
    return str(error) if is_ours else f"{type(error).__name__}: {error}"
