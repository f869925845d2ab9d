"""
Names are resolved for as many tasks at once as the worker runs.

gevent asks the system's resolver in threads, and starts ten at most: of 500 tasks
that each begin a request to a server, 490 wait. Threads are started when they
are needed, and end after some idle seconds. Which resolver it is stays as it was:
GEVENT_RESOLVER, or the system's, which knows /etc/hosts and nsswitch.conf; only the
system's and dnspython's use these threads.
"""

from typing import Final

import gevent

#: The threads that gevent itself has at most.
GEVENTS: Final = 10


def resolve_at_once(threads: int, concurrency: int) -> None:
    """
    Resolve up to *threads* names at once, and no more than there are tasks.

    Files that tasks read by `gevent.fileobject`, and what they give to the thread pool
    of gevent's hub themselves, have the same threads.
    """
    most = min(threads, max(concurrency, GEVENTS))
    gevent.get_hub().threadpool.maxsize = most
