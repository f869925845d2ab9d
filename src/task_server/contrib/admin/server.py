"""The server and the whole of its messages, in few words."""

from collections.abc import Iterator

from django.utils.translation import gettext as _

from task_server.contrib.admin.text import clock
from task_server.monitor import Snapshot


def facts(found: Snapshot) -> list[tuple[str, str]]:
    """Return what each page says at its end: names, and what is so."""
    return [(name, value) for name, value in _facts(found) if value]


def _facts(found: Snapshot) -> Iterator[tuple[str, str]]:
    broker = found.broker
    yield _("Server"), " ".join(filter(None, (broker.product, broker.role)))
    if broker.memory is not None:
        limit = f" / {_size(broker.max_memory)}" if broker.max_memory else ""
        yield _("Memory"), f"{_size(broker.memory)}{limit}"
    yield _("When full"), broker.policy
    if broker.clients is not None:
        yield _("Clients"), f"{broker.clients} / {broker.max_clients or '?'}"
    if broker.is_persistent is not None:
        yield _("Persistent"), _("yes") if broker.is_persistent else _("no")
    yield _("In flight"), str(found.in_flight)
    yield _("Delayed"), str(found.delayed)
    yield _("Unreadable"), str(found.unreadable)
    yield _("Last scan"), clock(broker.last_scan, found.at)
    yield _("Seen at"), clock(found.at, found.at)


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
