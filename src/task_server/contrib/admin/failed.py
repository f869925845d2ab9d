"""Failed tasks: the page of a list, and as a page shows one."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Any, Final

from django.core.paginator import Paginator

from task_server.contrib.admin.text import clock, link, moment, short, visible
from task_server.monitor import failures
from task_server.monitor.failure import EVERY, FAILED, Failure, Filter, of_letter, of_task
from task_server.transport.store import dead_letters, failed_tasks
from task_server.transport.store.keys import Keys

#: Rows of a page.
ROWS: Final = 100

#: Seconds for a search: records are read one after another, and there may be 64 MiB of them.
SECONDS: Final = 1.0

#: What is shown in place of more.
MOST: Final = 65_536


@dataclass(frozen=True, slots=True)
class Asked:
    """
    Which failures a list shall have.

    Attributes:
        task, error: Exactly so, if any; a `Filter` has patterns.

        is_failed: No dead letters.

        words: Each is somewhere in a failure.

        page: The number, as the address has it.
    """

    chosen: Filter = EVERY
    task: str = ""
    error: str = ""
    is_failed: bool = False
    words: tuple[str, ...] = ()
    page: str = ""

    @property
    def is_every(self) -> bool:
        """Whether nothing is left out."""
        return self == Asked(page=self.page)

    def until(self, seconds: float | None) -> "Asked":
        """Return the same, but for what failed after *seconds* since 1970."""
        return replace(self, chosen=replace(self.chosen, until=seconds))

    def matches(self, one: Failure) -> bool:
        """Whether *one* is asked for, beside what `chosen` says."""
        is_other = self.task not in ("", one.task) or self.error not in ("", one.error)
        if is_other or (self.is_failed and one.reason != FAILED):
            return False
        parts = (one.task, one.id, one.error, one.text, one.args, one.kwargs, one.worker)
        text = "\\n".join(parts).lower() if self.words else ""
        return all(word in text for word in self.words)


@dataclass(frozen=True, slots=True)
class Found:
    """
    One page of failures.

    Attributes:
        count: How many there are on all pages.

        total: How many are kept.

        is_complete: False if there was not time to look at all of them.
    """

    failures: Sequence[Failure]
    count: int
    total: int
    is_complete: bool = True


def find(client: Any, keys: Keys, asked: Asked) -> Found:
    """
    Return a page of failures, the newest first.

    Raises:
        RedisError: When Redis does not answer, or refuses.
    """
    letters = {one.tag: one for one in dead_letters.all_of(client, keys.dead_letters)}
    names = failed_tasks.names(client, keys)
    total = len(letters) + len(names)
    if not asked.is_every:
        return _searched(client, keys, asked, total)
    # Only those of this page are read.
    every = [(one.at, tag, True) for tag, one in letters.items()]
    every += [(at, name, False) for name, at in names]
    every.sort(key=lambda one: one[:2], reverse=True)
    page = Paginator(every, ROWS).get_page(asked.page).object_list
    wanted = {name: at for at, name, is_letter in page if not is_letter}
    tasks = failed_tasks.read(client, keys, list(wanted))
    found = {one.name: of_task(one, wanted[one.name]) for one in tasks}
    found |= {name: of_letter(letters[name]) for _, name, is_letter in page if is_letter}
    return Found([found[name] for _, name, _ in page if name in found], total, total)


def _searched(client: Any, keys: Keys, asked: Asked, total: int) -> Found:
    end = monotonic() + SECONDS
    found = []
    is_complete = True
    for one in failures.matching(client, keys, asked.chosen):
        if asked.matches(one):
            found.append(one)
        if monotonic() > end:
            is_complete = False
            break
    page = Paginator(found, ROWS).get_page(asked.page).object_list
    return Found(list(page), len(found), total, is_complete)


def every_one(client: Any, keys: Keys, asked: Asked) -> list[Failure]:
    """Return all failures that are *asked* for, however long it takes."""
    return [one for one in failures.matching(client, keys, asked.chosen) if asked.matches(one)]


@dataclass(frozen=True, slots=True)
class Row:
    """
    A failure as a page shows it.

    Attributes:
        token: Its key, as a form has it.

        error: Its type without the module, and what it says; in one line.
    """

    failure: Failure
    url: str
    token: str
    task: str
    id: str
    queue: str
    queue_url: str
    error: str
    error_type: str
    worker: str
    worker_url: str
    when: str
    at: datetime | None


def row_of(site: Any, one: Failure, now: float) -> Row:
    """Return *one* as a page of *site* shows it."""
    error = one.error.rpartition(".")[2]
    return Row(
        failure=one,
        url=link(site, "failedtask", one.key),
        token=token_of(one.key),
        task=short(one.task),
        id=short(one.id),
        queue=short(one.queue),
        queue_url=link(site, "queue", one.queue) if one.queue else "",
        error=short(f"{error}: {one.text}" if error and one.text else error or one.text),
        error_type=short(one.error),
        worker=short(one.worker),
        worker_url=link(site, "worker", one.worker) if one.worker else "",
        when=clock(one.at, now),
        at=moment(one.at),
    )


def long_text(text: str) -> str:
    """Return *text* for a page of its own, with what of it is shown."""
    return visible(text[:MOST] + ("…" if len(text) > MOST else ""))


def token_of(key: str) -> str:
    """Return *key* as the value of a form's field: anyone can write one with whatever in it."""
    return urlsafe_b64encode(key.encode("utf-8", "surrogatepass")).decode()


def key_of(token: str) -> str | None:
    """Return what `token_of` got; None if it is no token."""
    try:
        return urlsafe_b64decode(token.encode()).decode("utf-8", "surrogatepass")
    except ValueError:
        return None
