"""What the sending process calls of a task of a peer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sent:
    """A task that is sent by `delay`, as Celery's are."""

    delay: Callable[[int], Any]
