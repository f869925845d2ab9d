"""One thing that is wrong, and from when on something is."""

from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["error", "warning"]

#: Their order.
LEVELS: tuple[Level, ...] = ("error", "warning")

#: Seconds, where nothing is known of a queue, or of a task.
UNKNOWN_WAIT: Final = 300.0
UNKNOWN_RUN: Final = 600.0

#: What is wrong is so many times what is usual, and not less than so many seconds.
TIMES: Final = 3.0
LEAST: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    From when on something is wrong, in seconds and shares of 1.

    Attributes:
        waiting: Age of the oldest message of a queue; None: three times what is usual there, and
            no less than a minute; `UNKNOWN_WAIT` where that is not known.

        running: For which one task runs; None: the same, by what is usual for the task, and no more
            than its time limit; `UNKNOWN_RUN` where neither is known.

        failing: Share of a task's recent tries that failed; with at least `FEW_FAILURES` of them.

        full: Of memory, and of clients, that the server may have.
    """

    waiting: float | None = None
    running: float | None = None
    failing: float = 0.2
    full: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """
    One thing that is wrong.

    Attributes:
        what: The queue, the node or the part of the server.

        repair: What to do; a phrase.
    """

    level: Level
    what: str
    message: str
    repair: str


def span(seconds: float) -> str:
    """Return *seconds* as people say them: 45 s, 12 min, 3 h, 2 d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
