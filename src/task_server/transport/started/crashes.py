"""
Which messages a worker died of, and when that is enough to put one aside.

What is known of a death, from the most to the least:

    certain   The child of prefork that died names one message; under gevent the
              task that had the processor when the process ended is one. A loop
              that waited for events then had none: whoever killed the process
              did it from outside, or from a thread.
    told      A worker that runs a suspect tells Redis of each begin and each end
              (see `begun`), so that all that had begun and not ended is known:
              so many suspects. One alone among them is a sole suspect.
    untold    A worker whose messages nobody has died of tells of long tasks only.
              All that it held may have begun; how many did is not known.

Each death is written into the messages that it may have been, with the number of
`suspects` (1 for a certain one, 0 if it is not known), and `certain`. A message is
put aside when it has as many deaths as the limit says, and among them

    - as many certain ones, less one: the first death is untold as a rule, or
    - as many in a row, the last ones, as the sole suspect; less one if it has never
      been seen beside others.

So a node that is killed, or a drain that takes too long, condemns nothing that
ran beside others; and a task that kills its process with its own hands is put
aside at the limit, whatever ran beside it.

From its second death on a suspect that has company is set apart: of so many
suspects half run at a time, with nothing else beside them. Who ends is cleared,
and each death halves those that are left. A task may be long, and innocent: what
waits for it waits no longer than `patience` says, which doubles with each death.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: Deaths of a message from which on it is set apart.
APART_FROM: Final = 2

#: Deaths that a message says, the last ones: one that many nodes are killed with does not grow.
MOST_KEPT: Final = 100

#: Seconds that others wait, at most, while a message with two deaths is set apart.
PATIENCE: Final = 20.0

#: In the set of what a process has begun: that nothing is missing in it.
COMPLETE: Final = "*"

#: Before the tag of the message whose task has the processor.
ON_CPU: Final = ">"


@dataclass(frozen=True, slots=True)
class Blame:
    """
    That a worker may have died of a message.

    Attributes:
        suspects: Of how many messages it may have died; 0 is not known.

        certain: Whether it was this one.
    """

    suspects: int
    certain: bool = False

    def described(self) -> dict[str, Any]:
        """Return what a death in the message's history says of it."""
        return {"suspects": self.suspects, **({"certain": True} if self.certain else {})}


CERTAIN: Final = Blame(1, certain=True)


def blame(tag: str, told: Iterable[str], *, marked: bool) -> Blame | None:
    """
    Return how far the message *tag* is to blame for the death of a process; None if it is not.

    Args:
        told: What the process has told, see `begun`.

        marked: Whether a worker that held the message has died before, so that
            its begin would have been told.
    """
    told = set(told)
    begun = {each for each in told if each != COMPLETE and not each.startswith(ON_CPU)}
    running = {each.removeprefix(ON_CPU) for each in told if each.startswith(ON_CPU)} & begun
    if len(running) == 1:
        return CERTAIN if tag in running else None
    if COMPLETE in told:
        return Blame(len(begun)) if tag in begun else None
    return Blame(0) if tag in begun or not marked else None


def is_enough(deaths: Sequence[Mapping[str, Any]], limit: int) -> bool:
    """Return whether a message with these *deaths*, oldest first, is put aside; 0 is never."""
    if not limit or len(deaths) < limit:
        return False
    fewer = max(1, limit - 1)
    if sum(bool(death.get("certain")) for death in deaths) >= fewer:
        return True
    alone = 0
    for death in reversed(deaths):
        if death.get("suspects") != 1:
            break
        alone += 1
    shared = any(_suspects(death) > 1 for death in deaths)
    return alone >= (limit if shared else fewer)


def most_beside(deaths: Sequence[Mapping[str, Any]]) -> int | None:
    """
    Return how many suspects may run at a time, one with these *deaths* among them.

    None if it needs not be set apart.
    """
    if len(deaths) < APART_FROM or deaths[-1].get("certain"):
        return None
    known = [number for death in deaths if (number := _suspects(death))]
    # Of an untold death nobody knows how many; those that were told come later.
    return max(1, known[-1] // 2) if known else None


def patience(deaths: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds that others wait for a message that is set apart, and it for them."""
    return float(PATIENCE * 2 ** min(10, max(0, len(deaths) - APART_FROM)))


def history(value: object, limit: int = 0) -> list[dict[str, Any]]:
    """Return the deaths that a message says, `MOST_KEPT` or *limit*: anybody can write them."""
    deaths = value if isinstance(value, list) else []
    return [death for death in deaths if isinstance(death, dict)][-max(MOST_KEPT, limit) :]


def _suspects(death: Mapping[str, Any]) -> int:
    number = death.get("suspects", 0)
    return number if isinstance(number, int) and number > 0 else 0
