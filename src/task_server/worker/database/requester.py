"""For which greenlet a connection is requested: mostly the one that asks for it."""

from typing import Any
from weakref import WeakKeyDictionary

import gevent

#: Greenlets that use another one's connections: the helper -> the one it works for.
_works_for: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def work_for(greenlet: Any) -> None:
    """Count what the current greenlet requests as *greenlet*'s, whose connections it uses."""
    _works_for[gevent.getcurrent()] = greenlet


def requester() -> Any:
    """Return the greenlet for which the current one requests a connection."""
    current = gevent.getcurrent()
    return _works_for.get(current, current)
