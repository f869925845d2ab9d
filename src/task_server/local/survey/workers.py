"""
Which queue goes to which pool, and why; pure.

A queue whose name, or the project's own `worker_pool`, says that its tasks wait for the
network goes to gevent. Everything else goes to prefork: a task that computes there
stops no other one, and one that waits does no harm but to its own process.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from task_server.config.pools import POOLS
from task_server.local.survey.facts import Project, Queue


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words of a name that say what its tasks do.
NETWORK = _words(
    "io iobound network net http https webhook webhooks fetch fetcher fetching crawl crawler "
    "crawlers crawling scrape scraper scrapers scraping download downloads downloader gevent "
    "eventlet greenlet greenlets"
)
COMPUTING = _words(
    "cpu compute ocr pdf render rendering train training ml encode encoding heavy index "
    "indexing thumbnails reports"
)

#: Words that often mean the network, and not always.
MAYBE = _words(
    "email emails mail mails mailer sms push notify notification notifications api apis async "
    "feed feeds sync external"
)

#: What gevent takes if nothing is found for it: the queue of the built-in worker.
BY_DEFAULT = "io_bound"

#: Engines whose usual driver waits in C, where gevent cannot go on with other tasks.
BLOCKING = {"MySQL": "mysqlclient", "Oracle": "oracledb"}


@dataclass(frozen=True, slots=True)
class Division:
    """
    The queues of gevent and of prefork.

    Attributes:
        network: Names for gevent, found in the project; may be none.

        reason: Why they, and no others, go there.

        maybe: Names on prefork that may as well go to gevent.

        others: Names on prefork.

        everything: gevent takes every queue: the project itself asks for that pool.
    """

    network: tuple[str, ...] = ()
    reason: str = ""
    maybe: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    everything: bool = False


def divide(project: Project) -> Division:
    """Return which queues of *project* go to gevent, and the reason."""
    names = tuple(one.name for one in project.queues)
    blocking = [one.kind for one in project.servers if one.kind in BLOCKING]
    if blocking:
        driver = BLOCKING[blocking[0]]
        reason = (
            f"{blocking[0]} is asked through a driver such as {driver}, which waits in C and would "
            "stop all tasks of a gevent worker"
        )
        return Division((), reason, (), names)
    if _is_green(project.pool):
        reason = f"the project's own worker_pool is {project.pool}"
        return Division(names, reason, everything=True)
    network = tuple(name for name in names if _says(name, NETWORK))
    maybe = tuple(name for name in names if name not in network and _says(name, MAYBE))
    others = tuple(name for name in names if name not in network)
    if network:
        reason = "their names say that their tasks wait for the network"
    else:
        reason = "no name of a queue says that its tasks wait for the network"
    return Division(network, reason, maybe, others)


def _is_green(pool: str) -> bool:
    return any(pool in (one.name, *one.aliases) and one.green for one in POOLS.values())


def _says(name: str, words: Iterable[str]) -> bool:
    """Whether *name* has one of *words* in it, and none that says computing."""
    own = set(re.split(r"[^a-z0-9]+", name.lower()))
    return not own.isdisjoint(words) and own.isdisjoint(COMPUTING)


def shortened(names: Iterable[str], most: int = 6) -> str:
    """Return *names* in one line, however many there are."""
    known = list(names)
    more = len(known) - most
    return ", ".join(known[:most]) + (f" and {more} more" if more > 0 else "")


def named(queues: Iterable[Queue]) -> tuple[str, ...]:
    """Return the names of *queues*."""
    return tuple(one.name for one in queues)
