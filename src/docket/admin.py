"""Django's admin for documents and the passes over them."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from docket.models import Document, Job

if TYPE_CHECKING:
    # Django's admin classes take no parameters at run time.
    DocumentAdminBase = admin.ModelAdmin[Document]
    JobAdminBase = admin.ModelAdmin[Job]
    JobInlineBase = admin.TabularInline[Job, Document]
else:
    DocumentAdminBase = JobAdminBase = admin.ModelAdmin
    JobInlineBase = admin.TabularInline


class ReadOnly:
    """Mixin: what tasks have written can be viewed and deleted, not edited."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """Say no: `docket ingest` adds documents."""
        return False

    def has_change_permission(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: object = None,  # noqa: ARG002
    ) -> bool:
        """Say no: the next pass would undo the change."""
        return False


class JobInline(ReadOnly, JobInlineBase):
    """The passes over one document, below it."""

    model = Job
    fields = ["state", "fetch_runs", "read_runs", "created", "fetched_at", "ended_at"]
    readonly_fields = ["created"]
    extra = 0


@admin.register(Document)
class DocumentAdmin(ReadOnly, DocumentAdminBase):
    """Documents; their text can be searched."""

    list_display = ["name", "state", "pages", "words", "error", "modified"]
    list_filter = ["state", "created", "modified"]
    search_fields = ["name", "source", "sha256", "text"]
    exclude = ["search"]
    inlines = [JobInline]


@admin.register(Job)
class JobAdmin(ReadOnly, JobAdminBase):
    """Passes over documents."""

    list_display = [
        "id",
        "document",
        "state",
        "fetch_runs",
        "read_runs",
        "created",
        "fetched_at",
        "ended_at",
    ]
    list_filter = ["state", "created"]
    list_select_related = ["document"]
    search_fields = ["document__name", "document__source", "batch"]
