"""Documents, and the passes over them."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models

from docket.states import State

#: Longest source: an index entry of PostgreSQL has at most 2,704 bytes.
SOURCE_LENGTH = 2048


class Document(models.Model):
    """A court document: where it is from, its file, and what it says."""

    source = models.CharField(
        max_length=SOURCE_LENGTH,
        unique=True,
        help_text="The http, https or file URI that the document is known by.",
    )
    name = models.CharField(max_length=255)
    sha256 = models.CharField("SHA-256", max_length=64, blank=True, db_index=True)
    file = models.FileField(max_length=255, blank=True)
    pages = models.PositiveIntegerField(null=True, blank=True)
    words = models.PositiveIntegerField(null=True, blank=True)
    text = models.TextField(blank=True)
    state = models.CharField(
        max_length=16, choices=State.choices, default=State.PENDING, db_index=True
    )
    error = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)
    search = SearchVectorField(null=True, editable=False)

    class Meta:
        ordering = ["pk"]
        indexes = [GinIndex(fields=["search"], name="docket_document_search")]

    def __str__(self) -> str:
        return self.name


class Job(models.Model):
    """
    One pass over a document, from the request to the end.

    The tasks may run more often than once (at-least-once delivery); what they
    did is recorded once, and the runs are counted.
    """

    class State(models.TextChoices):
        """How far the pass has come."""

        QUEUED = "queued", "queued"
        FETCHED = "fetched", "fetched"
        ENDED = "ended", "ended"

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="jobs")
    batch = models.UUIDField(db_index=True, help_text="One call of `docket ingest`.")
    url = models.CharField(
        "URL", max_length=SOURCE_LENGTH, help_text="Where the file is fetched from."
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    fetch_runs = models.PositiveIntegerField(default=0, help_text="Completed runs of fetch.")
    read_runs = models.PositiveIntegerField(default=0, help_text="Completed runs of read.")
    read_starts = models.PositiveIntegerField(default=0, help_text="Begun runs of read.")
    created = models.DateTimeField(auto_now_add=True)
    fetched_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"job {self.pk}"
