"""Messages that should never have been sent: no worker ends, no queue stops, none is dropped."""

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest

from tests.acceptance.worker import odd_messages
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

pytestmark = pytest.mark.slow

UNREADABLE = "unacked.unreadable"


def task_id(message: bytes) -> str | None:
    """Return the id of the task that *message* has, if it has one."""
    with suppress(Exception):
        # As Kombu reads it.
        one = json.loads(message.decode(errors="replace"))
        if "id" in one["headers"]:
            return str(one["headers"]["id"])
        return str(json.loads(base64.b64decode(one["body"]))["id"])
    return None


BODY = re.compile(rb'"body": "([^"]+)"')


def shown(value: object) -> str:
    """Return *value* as the project writes it into its lines."""
    return ascii(str(value))[1:-1][:200].replace(" ", "_")


class Outcome:
    """What became of *odd* messages that were put between good ones, one before and after each."""

    def __init__(self, worker: Worker, broker: Redis, odd: Mapping[str, bytes]) -> None:
        self.worker, self.broker, self.odd = worker, broker, odd
        self.goods = len(odd) + 1
        with broker.client.pipeline() as pipe:
            for number, message in enumerate(odd.values()):
                pipe.lpush("celery", odd_messages.good(number), message)
            pipe.lpush("celery", odd_messages.good(len(odd))).execute()
        until(self._is_over)

    def _is_over(self) -> bool:
        if self.worker.process.poll() is not None:
            pytest.fail(f"the worker has ended\n{self.worker.output()[-5000:]}")
        return self.broker.queued() == self.broker.unacked() == 0

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.worker.log.read_text().splitlines()]

    def good(self) -> Counter[int]:
        """Return how often each good message ran."""
        return Counter(int(words[1]) for words in self.lines() if words[0] == "good")

    def nowhere(self) -> list[str]:
        """Return the odd messages that neither ran, nor failed, nor lie anywhere."""
        kept = Counter(self.broker.client.lrange(UNREADABLE, 0, -1))
        ended = {words[place] for words in self.lines() for place in (1, 2) if len(words) > place}
        dead = b"".join(self.broker.client.hvals("unacked.dead")).decode()
        # What no worker registers is a dead letter, which need not have an id.
        log = "".join(line for line in self.worker.output().splitlines() if "received" not in line)
        found = []
        for name, message in self.odd.items():
            number = task_id(message)
            body = BODY.search(message)
            if kept[message]:
                kept[message] -= 1
            elif not (
                shown(number) in ended
                or shown(name) in ended
                or (number is not None and (number in dead or number in log))
                or (body is not None and body[1].decode("latin-1") in dead)
            ):
                found.append(name)
        assert not +kept, "something else became a dead letter"
        return found

    def twice(self) -> list[str]:
        """Return the names of the odd messages that ran more than once."""
        ran = Counter(tuple(words[2:]) for words in self.lines() if words[0] == "odd")
        return [" ".join(words) for words, count in ran.items() if words and count > 1]


def holds(outcome: Outcome) -> None:
    """Assert what must hold whatever was in the queue."""
    broker, worker = outcome.broker, outcome.worker

    assert dict.fromkeys(range(outcome.goods), 1) == outcome.good()
    assert [] == outcome.nowhere()
    assert [] == outcome.twice()
    assert 0 == broker.unacked()
    assert 0 == broker.client.zcard("unacked_index")
    assert worker.process.poll() is None
    assert "Trying to re-establish" not in worker.output()
    assert worker.verdict().ready


@pytest.mark.parametrize("pool", POOLS)
def test_odd_messages_by_hand(pool: str, broker: Redis, start: Callable[..., Worker]) -> None:
    """
    A malformed message ends no worker and stops no queue; whatever cannot run is kept.
    """
    worker = start(pool, app="odd")
    worker.hear("READY=1")

    holds(Outcome(worker, broker, odd_messages.by_hand()))


@pytest.mark.parametrize("pool", POOLS)
def test_mutated_messages(pool: str, broker: Redis, start: Callable[..., Worker]) -> None:
    """
    The same holds of good messages that were changed at random.
    """
    worker = start(pool, app="odd")
    worker.hear("READY=1")

    holds(Outcome(worker, broker, odd_messages.mutated(150, seed=1)))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2, 7))
@pytest.mark.parametrize("pool", POOLS)
def test_a_thousand_mutated_messages(
    pool: str, seed: int, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    The same holds of thousands.
    """
    worker = start(pool, app="odd")
    worker.hear("READY=1")

    holds(Outcome(worker, broker, odd_messages.mutated(1000, seed=seed)))


@pytest.mark.nightly
@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("pool", POOLS)
def test_a_message_of_64_megabytes(
    pool: str, broker: Redis, start: Callable[..., Worker], *, readable: bool
) -> None:
    """
    The worker lives, its neighbours run once, and it runs or becomes a dead letter unchanged.
    """
    worker = start(pool, app="odd")
    worker.hear("READY=1")
    large = odd_messages.message("large", "x" * (48 << 20))
    sent = odd_messages.text(large)
    sent = sent if readable else sent[:-1]

    assert len(sent) >= 64 << 20
    holds(Outcome(worker, broker, {"large": sent}))
    kept = broker.client.lrange(UNREADABLE, 0, -1)
    assert ([] if readable else [sent]) == kept


@pytest.mark.parametrize("pool", POOLS)
def test_the_reason_is_reported(pool: str, broker: Redis, start: Callable[..., Worker]) -> None:
    """
    The log names the message, its queue and the reason in one line, with nothing unescaped in it.
    """
    worker = start(pool, app="odd")
    worker.hear("READY=1")
    forged = b"\x1b[2J\x1b]0;owned\x07\n[2026-01-01: INFO/MainProcess] forged"
    Outcome(
        worker,
        broker,
        {
            "timelimit": odd_messages.with_("timelimit", "headers.timelimit", 7),
            "no id": odd_messages.with_("no id", "headers.id", odd_messages.MISSING),
            "forged": forged,
        },
    )
    logged = [line for line in worker.output().splitlines() if UNREADABLE in line]

    assert 3 == len(logged)
    assert all("queue celery" in line for line in logged)
    assert any("timelimit 7 is not two numbers of seconds" in line for line in logged)
    assert any("KeyError: 'id'" in line for line in logged)
    assert any("not JSON" in line and r"\x1b[2J" in line and r"\n[2026" in line for line in logged)
    assert "\x1b[2J" not in worker.output()
