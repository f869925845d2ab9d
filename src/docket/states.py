"""What may become of a document."""

from django.db.models import TextChoices


class State(TextChoices):
    """The outcome of the last pass over a document."""

    PENDING = "pending", "pending"
    DONE = "done", "done"
    NOT_A_PDF = "not-a-pdf", "not a PDF"
    EMPTY = "empty", "empty file"
    BROKEN = "broken", "broken PDF"
    ENCRYPTED = "encrypted", "encrypted"
    NO_TEXT = "no-text-layer", "no text layer"
    TOO_LARGE = "too-large", "too large"
    TOO_SLOW = "too-slow", "too slow"
    NOT_FOUND = "not-found", "not found"
    UNREACHABLE = "unreachable", "unreachable"
    FAILED = "failed", "failed unexpectedly"


class DocumentError(Exception):
    """
    Raised when a document ends in another state than done.

    It is the answer about that document, not a fault of the program: tasks
    record it and succeed.
    """

    def __init__(self, state: State, reason: str, pages: int | None = None) -> None:
        self.state = state
        self.reason = reason
        self.pages = pages
        super().__init__(state, reason, pages)

    def __str__(self) -> str:
        return self.reason
