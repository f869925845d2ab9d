"""What the pages have in common: who may, what the broker says, and a page where it is silent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from task_server.contrib.admin.broker import BrokerError, ask, project_app, queue_names
from task_server.contrib.admin.server import facts
from task_server.contrib.admin.text import link, link_of_list, short, visible
from task_server.monitor import Snapshot, snapshot
from task_server.monitor.troubles import Limits, Trouble, troubles
from task_server.transport.store.keys import Keys

#: Messages of a page are cookies for some projects, which have few bytes.
MESSAGE: Final = 300

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

        more: What the page has asked for beside the snapshot.
    """

    found: Snapshot | None
    wrong: list[Trouble]
    error: str
    more: Any = None


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

        def work(client: Any, keys: Keys) -> tuple[Snapshot, Any]:
            found = snapshot(client, keys, known)
            return found, None if read is None else read(client, keys, found)

        try:
            known = [*queue_names(project_app()), *names]
            found, more = ask(work)
        except Exception as error:  # noqa: BLE001 - the project's own import may raise anything
            return Look(None, [], reason(error))
        return Look(found, troubles(found, Limits()), "", more)

    def change(self, request: HttpRequest, work: Callable[[Any, Keys], T]) -> T | None:
        """
        Return what *work* returns; None if it failed, which the next page says.

        Raises:
            PermissionDenied: When the user may only see.
        """
        self.must_change(request)
        try:
            return ask(work)
        except Exception as error:  # noqa: BLE001 - said to the user
            messages.error(request, short(reason(error), MESSAGE))
            return None

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
            "may_change": self.has_change_permission(request),
            **context,
        }
        return TemplateResponse(request, f"task_server_admin/{template}.html", values)

    def looked(self, look: Look, name: str | None = None) -> dict[str, Any]:
        """Return why there is nothing, or what is wrong: all of it, or what is about *name*."""
        if look.found is None:
            return {"unreachable": visible(look.error)}
        queues = {one.name for one in look.found.queues}
        workers = {one.node for one in look.found.workers}
        wrong = [one for one in look.wrong if name in (None, one.what)]
        return {
            "troubles": [self._trouble(one, queues, workers) for one in wrong],
            "more_troubles": len(wrong) - FIRST,
            "facts": facts(look.found),
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
    return str(error) if isinstance(error, BrokerError) else f"{type(error).__name__}: {error}"
