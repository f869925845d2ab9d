"""
Which messages crashed their worker, and when that is enough for a dead letter.

What is known of a crash, from the most to the least:

    certain     The child of prefork that died names one message; under gevent the
                task that had the processor when the process ended is one. A loop
                that waited for events then had none: the process was killed from
                outside, or from a thread.
    reported    A worker that runs a suspect reports each start and each end to
                Redis (see `reporter`), so that all that had started and not ended
                is known: so many suspects. One alone is a sole suspect.
    unreported  A worker whose messages have not crashed any worker yet reports
                long tasks only. All that it owned may have started; how many did
                is not known.

Each crash is written into the messages that may have caused it, with the number
of `suspects` (1 for a certain one, 0 if it is not known), and `certain`. A message
becomes a dead letter when it has as many crashes as the limit says, and among them

    - as many certain ones, less one: the first is unreported as a rule, or
    - as many in a row, the last ones, as the sole suspect; less one if it was
      never a suspect beside others.

So a node that is killed, or a drain that takes too long, condemns nothing that
ran beside others; and a task that kills its own process becomes a dead letter at
the limit, whatever ran beside it.

From its second crash on a suspect that has company is set apart: of so many
suspects half run at a time, with nothing else beside them. Those that end are
cleared, and each crash halves those that are left. A task may be long, and
innocent: others wait for it no longer than `patience`, which doubles with each
crash.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: Crashes of a message from which on it is set apart.
APART_FROM: Final = 2

#: Crashes that a message keeps, the last ones, so that it does not grow without end.
MAX_CRASHES: Final = 100

#: Seconds that others wait, at most, while a message with two crashes is set apart.
PATIENCE: Final = 20.0

#: In the set of what a process has started: that nothing is missing in it.
COMPLETE: Final = "*"

#: Before the tag of the message whose task has the processor.
ON_CPU: Final = ">"


@dataclass(frozen=True, slots=True)
class Blame:
    """
    That a message may have crashed a worker.

    Attributes:
        suspects: How many messages may have; 0 is not known.

        certain: Whether it was this one.
    """

    suspects: int
    certain: bool = False

    def described(self) -> dict[str, Any]:
        """Return what a crash in the message's history says of it."""
        return {"suspects": self.suspects, **({"certain": True} if self.certain else {})}


CERTAIN: Final = Blame(1, certain=True)


def blame(tag: str, reported: Iterable[str], *, seen_before: bool) -> Blame | None:
    """
    Return how far the message *tag* is to blame for the crash of a process; None if it is not.

    Args:
        reported: What the process has reported, see `reporter`.

        seen_before: Whether an earlier worker has crashed with the message, so
            that its start would have been reported.
    """
    reported = set(reported)
    started = {each for each in reported if each != COMPLETE and not each.startswith(ON_CPU)}
    running = {each.removeprefix(ON_CPU) for each in reported if each.startswith(ON_CPU)} & started
    if len(running) == 1:
        return CERTAIN if tag in running else None
    if COMPLETE in reported:
        return Blame(len(started)) if tag in started else None
    return Blame(0) if tag in started or not seen_before else None


def is_enough(crashes: Sequence[Mapping[str, Any]], limit: int) -> bool:
    """Return whether *crashes*, oldest first, make a dead letter; a *limit* of 0 never."""
    if not limit or len(crashes) < limit:
        return False
    fewer = max(1, limit - 1)
    if sum(bool(crash.get("certain")) for crash in crashes) >= fewer:
        return True
    alone = 0
    for crash in reversed(crashes):
        if crash.get("suspects") != 1:
            break
        alone += 1
    shared = any(_suspects(crash) > 1 for crash in crashes)
    return alone >= (limit if shared else fewer)


def most_beside(crashes: Sequence[Mapping[str, Any]]) -> int | None:
    """
    Return how many suspects may run at a time, one with these *crashes* among them.

    None if it need not be set apart.
    """
    if len(crashes) < APART_FROM or crashes[-1].get("certain"):
        return None
    known = [number for crash in crashes if (number := _suspects(crash))]
    # How many an unreported crash had is unknown; reported ones come later.
    return max(1, known[-1] // 2) if known else None


def patience(crashes: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds that others wait for a message that is set apart, and it for them."""
    return float(PATIENCE * 2 ** min(10, max(0, len(crashes) - APART_FROM)))


def history(value: object, limit: int = 0) -> list[dict[str, Any]]:
    """Return the crashes that a message names, `MAX_CRASHES` or *limit*: anyone can write them."""
    crashes = value if isinstance(value, list) else []
    return [crash for crash in crashes if isinstance(crash, dict)][-max(MAX_CRASHES, limit) :]


def _suspects(crash: Mapping[str, Any]) -> int:
    number = crash.get("suspects", 0)
    return number if isinstance(number, int) and number > 0 else 0
