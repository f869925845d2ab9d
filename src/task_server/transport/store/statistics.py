"""
What workers have finished, added up by task and queue: in all, and of the last day.

A hash has the totals, for as long as Redis keeps it; others what was finished in one minute, of
the last two hours, and in ten minutes, of the last day. A field is JSON, `["task","queue"]`, its
value words: `succeeded:12 run:3400 r4:12`. Of a minute there is no histogram. The field
`["queue"]` is the length of a queue, as a worker saw it last in that time.

No hash grows beyond so many rows: what comes then is added to the field `["",""]`.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from task_server.transport.store.keys import Keys

#: Upper bounds of the histograms, in seconds; above the last there is one bucket more.
BOUNDS: Final = (
    *(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0),
    *(1800.0, 3600.0, 7200.0, 21600.0),
)

#: How a task ends: `retried` are those that are sent once more; `rejected` what ended without a
#: result, by Reject or Ignore.
ENDS: Final = ("succeeded", "failed", "retried", "rejected")

#: The names of the numbers: how many ended in each way; microseconds that they ran; of those that
#: say when they were sent, how many, and microseconds that they waited.
COUNTS: Final = (*ENDS, "run", "waited", "wait")

#: The same, with the buckets of both histograms.
NUMBERS: Final = (
    *COUNTS,
    *(f"r{number}" for number in range(len(BOUNDS) + 1)),
    *(f"w{number}" for number in range(len(BOUNDS) + 1)),
)

#: Rows of the totals, and of what was finished in one time, at most; the script has the same
#: numbers. All that a flood of names can make of it is some 60 MiB.
ROWS: Final = 1_000
ROWS_IN_TIME: Final = 250

#: Seconds for which the total of a task is kept that no worker finishes any more.
FORGET: Final = 30 * 86_400

#: Bytes of one value that are read: nothing that a script writes is longer.
LONGEST: Final = 2_000

_WORD: Final = re.compile(r"([a-z]+\d*):(\d{1,16})(?= |$)")

#: A task and a queue.
Row = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Period:
    """
    The length of time of one hash.

    Attributes:
        kept: Hashes of the past that are kept.
    """

    seconds: int
    kept: int

    def starts(self, now: float) -> range:
        """Return when each of those kept began, and the present one, the oldest first."""
        last = int(now) // self.seconds * self.seconds
        return range(last - self.kept * self.seconds, last + 1, self.seconds)


MINUTE: Final = Period(60, 60)
TEN_MINUTES: Final = Period(600, 144)


@dataclass(frozen=True, slots=True)
class Batch:
    """
    What one process has to add, once.

    Attributes:
        number: Of this batch; a server that has added it ignores it when it comes again.

        rows: The numbers that are not 0, by name.
    """

    number: int
    rows: Mapping[Row, Mapping[str, int]]


def bucket(seconds: float) -> int:
    """Return the number of the bucket that *seconds* belong to."""
    return bisect_left(BOUNDS, seconds)


def field_of(*names: str) -> str:
    """Return the field of a task and a queue, or of a queue."""
    return json.dumps(names, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=4 * ROWS)  # The same come with each hash.
def row_of(field: bytes | str) -> tuple[str, ...] | None:
    """Return what `field_of` got; None if it is no such field: anyone can write one."""
    try:
        names = json.loads(field)
    except (ValueError, RecursionError):
        return None
    is_row = isinstance(names, list) and 0 < len(names) <= len(("task", "queue"))
    return tuple(names) if is_row and all(isinstance(one, str) for one in names) else None


def arguments(keys: Keys, batch: Batch | None, lengths: Mapping[str, int]) -> list[str | int]:
    """Return what `register.lua` gets to add *batch*, and to note the *lengths* of queues."""
    rows = {field_of(*row): numbers for row, numbers in batch.rows.items()} if batch else {}
    return [
        keys.statistics,
        batch.number if batch else 0,
        json.dumps(rows),
        json.dumps({field_of(queue): length for queue, length in lengths.items()}),
        FORGET,
    ]


def numbers_in(text: bytes | str) -> dict[str, int]:
    """Return the numbers of one value, by name; {} if there are none."""
    if len(text) > LONGEST:
        return {}
    plain = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return {name: int(value) for name, value in _WORD.findall(plain)}


def read(client: Any, names: Sequence[str]) -> Iterator[dict[tuple[str, ...], bytes]]:
    """
    Return the rows of the hashes *names*, in their order, `ROWS` or somewhat more of each.

    One that is absent or of another type has none.

    Args:
        client: A Redis client that adds no prefix.

    Raises:
        RedisError: When Redis does not answer, or refuses the first.
    """
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            # One step reads so many places; a hash of ours has fewer, and is read whole.
            pipe.hscan(name, 0, count=4 * ROWS)
        answers = pipe.execute(raise_on_error=False)
    if answers and isinstance(answers[0], Exception):
        raise answers[0]
    for answer in answers:
        fields = answer[1] if isinstance(answer, list | tuple) else {}
        rows = ((row_of(field), value) for field, value in list(fields.items())[: 2 * ROWS])
        yield {row: value for row, value in rows if row is not None}


def read_some(
    client: Any, names: Sequence[str], rows: Sequence[Row]
) -> Iterator[dict[Row, dict[str, int]]]:
    """Return the numbers of these *rows* alone, of each of the hashes *names*, as `read`."""
    fields = [field_of(*row) for row in rows]
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hmget(name, fields)
        answers = pipe.execute(raise_on_error=False)
    for answer in answers:
        values = answer if isinstance(answer, list) else []
        found = zip(rows, values, strict=False)
        yield {row: numbers_in(value) for row, value in found if value is not None}
