"""
Sends batches of the tasks of `mixed`, as a web process does: one for each line `batch`.

It says what it has sent: `sent NUMBER`, `unsure NUMBER` where the send failed and the
message may be there or not, `chord NUMBER NUMBER…` for a body and its header; after
each batch `end`. At the line `results` it reads every result that is kept, and says
`wrong NUMBER …` of each that is not what it should be, then `end`.
"""

import random
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from celery import chord, group
from mixed import again, keep, plain, select, total

NUMBERS = count(int(sys.argv[1]))
CHANCE = random.Random(int(sys.argv[1]))

#: Characters of a payload, and how many tasks of a batch have so many.
PAYLOADS = {1_000: 15, 100_000: 3, 1_000_000: 1}

#: Results to be read, with what each should be.
KEPT: list[tuple[int, Any, Any]] = []


def say(*words: object) -> None:
    """Print a line; the test reads it at once."""
    print(*words, flush=True)


def send(numbers: list[int], call: Callable[[], Any]) -> Any:
    """Send by *call* the tasks of *numbers*; say which."""
    try:
        result = call()
    except Exception as error:  # noqa: BLE001 - whatever it is, the test decides
        for number in numbers:
            say("unsure", number, type(error).__name__)
        return None
    for number in numbers:
        say("sent", number)
    return result


def calls() -> Iterator[tuple[list[int], Callable[[], Any]]]:
    """Return the sends of a batch, with their numbers."""
    for size, times in PAYLOADS.items():
        for _ in range(times):
            number = next(NUMBERS)
            yield [number], lambda number=number, size=size: plain.delay(number, "x" * size)
    for _ in range(8):
        number = next(NUMBERS)
        yield [number], lambda number=number: select.delay(number)
    for _ in range(4):
        number, seconds = next(NUMBERS), CHANCE.uniform(1, 4)
        yield (
            [number],
            lambda number=number, seconds=seconds: plain.apply_async(
                (number,), countdown=seconds, priority=CHANCE.choice((0, 3, 6, 9))
            ),
        )
    for _ in range(3):
        number = next(NUMBERS)
        yield [number], lambda number=number: again.delay(number)


def batch() -> None:
    """Send one batch."""
    sends = list(calls())
    CHANCE.shuffle(sends)
    for numbers, call in sends:
        send(numbers, call)
    number = next(NUMBERS)
    KEPT.append((number, send([number], lambda: keep.delay(number)), number))
    several = [next(NUMBERS) for _ in range(4)]
    joined = send(several, lambda: group(keep.s(one) for one in several).apply_async())
    for one, result in zip(several, joined.results if joined else (), strict=False):
        KEPT.append((one, result, one))
    body, header = next(NUMBERS), [next(NUMBERS) for _ in range(5)]
    say("chord", body, *header)
    result = send([*header, body], lambda: chord(map(keep.s, header), total.s(body)).apply_async())
    KEPT.append((body, result, sum(header)))
    say("end")


def results() -> None:
    """Read every result."""
    for number, result, expected in KEPT:
        if result is None:
            continue
        try:
            found = result.get(timeout=60)
        except Exception as error:  # noqa: BLE001 - as above
            found = f"{type(error).__name__}: {error}"
        if found != expected:
            say("wrong", number, found)
    say("end")


for line in sys.stdin:
    {"batch": batch, "results": results}[line.strip()]()
