"""Waiting for the jobs of a batch, by PostgreSQL's LISTEN and NOTIFY."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connections, models

from docket.jobs import CHANNEL
from docket.models import Job

# A notification cannot be lost while the connection lives. The slow poll of
# the table is for a connection that dies in silence: then the query says so.
_FALLBACK_SECONDS = 5.0


class Progress:
    """
    How far the jobs of a batch have come.

    *fetched*, *read* and *ended* are sets of primary keys.
    """

    def __init__(self, batch: UUID) -> None:
        self.batch = batch
        self.fetched: set[int] = set()
        self.read: set[int] = set()
        self.ended: set[int] = set()

    def wait(self, raw: Any) -> None:
        """
        Wait until something happens on *raw* (see `listening`), for some seconds at most.

        Raises:
            django.db.Error: If the connection is lost.
        """
        payloads = _payloads(raw)
        if not payloads and select.select([raw], [], [], _FALLBACK_SECONDS)[0]:
            payloads = _payloads(raw)
        elif not payloads:
            self.poll()
        for payload in payloads:
            batch, job, step = payload.split()
            if batch == str(self.batch):
                self._of(step).add(int(job))

    def poll(self) -> None:
        """Ask the table itself."""
        jobs = Job.objects.filter(batch=self.batch)
        for step, condition in (
            ("fetched", models.Q(fetched_at__isnull=False)),
            ("read", models.Q(read_runs__gt=0)),
            ("ended", models.Q(state=Job.State.ENDED)),
        ):
            self._of(step).update(jobs.filter(condition).values_list("pk", flat=True))

    def _of(self, step: str) -> set[int]:
        return {"fetched": self.fetched, "read": self.read, "ended": self.ended}[step]


@contextmanager
def listening() -> Iterator[Any]:
    """Yield a connection of psycopg's own that listens to the jobs."""
    # Apart from Django's: a query there may read a notification away.
    wrapper = connections.create_connection("default")
    try:
        with wrapper.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        yield wrapper.connection
    finally:
        wrapper.close()


def _payloads(raw: Any) -> list[str]:
    """Return what has arrived, from psycopg or psycopg2."""
    if hasattr(raw, "poll"):
        raw.poll()
        payloads = [notification.payload for notification in raw.notifies]
        raw.notifies.clear()
        return payloads
    return [notification.payload for notification in raw.notifies(timeout=0)]
