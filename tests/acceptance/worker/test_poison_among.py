"""Poison among other tasks: it alone becomes a dead letter, at the limit, and the rest runs."""

import json
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from task_server.transport.started.crashes import ON_CPU
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

#: Seconds after which a dead worker's messages come back.
SETTINGS: Mapping[str, Any] = {"environ": {"TASK_SERVER_VISIBILITY_TIMEOUT": "2"}}

#: Numbers of poisoned tasks begin here.
POISON = 1000

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("transport", ["atomic"], indirect=True)]


@contextmanager
def supervised(start: Callable[..., Worker], pool: str, **settings: Any) -> Iterator[list[Worker]]:
    """Have a worker that is restarted when it ends, as by systemd; give all of them."""
    lives = [start(pool, **SETTINGS, **settings)]
    over = threading.Event()

    def supervise() -> None:
        while not over.is_set():
            lives[-1].process.wait()
            if not over.is_set():
                lives.append(start(pool, **SETTINGS, **settings))

    thread = threading.Thread(target=supervise)
    thread.start()
    try:
        yield lives
    finally:
        over.set()
        lives[-1].close()
        thread.join()


def dead_letters(broker: Redis) -> Counter[str]:
    """Return the ids of the tasks that became dead letters."""
    return Counter(json.loads(text)["id"] for text in broker.client.hvals("unacked.dead"))


def is_over(broker: Redis, poison: int) -> bool:
    return (broker.queued(), broker.unacked(), sum(dead_letters(broker).values())) == (0, 0, poison)


def waiting(broker: Redis) -> list[str]:
    """Return the names of the clients of tasks that wait for a list."""
    clients: Any = broker.client.client_list()
    return [one["name"] for one in clients if one["name"][:6] == "waits-" and "b" in one["flags"]]


def on_cpu(broker: Redis) -> list[bytes]:
    """Return the tasks that have said that they have the processor."""
    reports: Any = broker.client.keys("unacked.begun:*")
    members = [one for key in reports for one in broker.client.smembers(key)]  # type: ignore[union-attr]
    return [one for one in members if one.startswith(ON_CPU.encode())]


def send_all(
    send: Callable[..., None], innocents: int, poison: Mapping[int, str], task: str = "crash"
) -> None:
    """Send so many instant tasks, and one that kills in the place of each number of *poison*."""
    for place in range(innocents + 1):
        if place in poison:
            arguments = [POISON + place, *([poison[place]] if task == "crash" else [])]
            send(task, *arguments, task_id=f"poison-{place}")
        if place < innocents:
            send("work", place)


@pytest.mark.parametrize(
    "poison",
    [
        {7: "exit"},
        *(
            pytest.param({place: how}, marks=pytest.mark.nightly)
            for place in (0, 1, 15, 29, 30)
            for how in ("exit", "segfault")
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("pool", POOLS)
def test_the_poison_alone_becomes_a_dead_letter_at_the_limit(
    pool: str,
    poison: dict[int, str],
    broker: Redis,
    start: Callable[..., Worker],
    send: Callable[..., None],
) -> None:
    """
    Wherever it stands in a row: it has run three times, and its instant neighbours have run.

    Once more where its last start was not reported to Redis: a busy machine, or a child
    that died before Celery heard which job it took.
    """
    (place,) = poison
    send_all(send, 30, poison)
    with supervised(start, pool, concurrency=50 if pool == "gevent" else 2) as lives:
        until(lambda: is_over(broker, 1))

        assert Counter({f"poison-{place}": 1}) == dead_letters(broker)
        assert lives[-1].starts()[POISON + place] in {3, 4}
        assert set(range(30)) == set(lives[-1].ends())


@pytest.mark.parametrize("pool", POOLS)
def test_two_poisons_become_dead_letters_at_the_limit_of_each(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    One does not hide the other. The first crash, which is unreported, counts for both.
    """
    send_all(send, 20, {5: "exit", 15: "segfault"})
    with supervised(start, pool, concurrency=50 if pool == "gevent" else 2) as lives:
        until(lambda: is_over(broker, 2))

        assert Counter({"poison-5": 1, "poison-15": 1}) == dead_letters(broker)
        # Celery gives a job to another child if one dies before its start was reported.
        assert {2, 3, 4} >= {lives[-1].starts()[POISON + place] for place in (5, 15)}
        assert set(range(20)) == set(lives[-1].ends())


@pytest.mark.parametrize("pool", POOLS)
def test_who_kills_the_whole_worker_is_found_by_halving(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    A task that kills the main process of prefork leaves no trace of who it was.
    """
    send_all(send, 12, {6: "kill"}, task="kill")
    with supervised(start, pool, concurrency=4, prefetch_multiplier=4) as lives:
        until(lambda: is_over(broker, 1), seconds=150)

        assert Counter({"poison-6": 1}) == dead_letters(broker)
        assert set(range(12)) == set(lives[-1].ends())
        assert lives[-1].starts()[POISON + 6] <= 7


@pytest.mark.parametrize("pool", POOLS)
def test_five_kills_from_outside_condemn_nothing(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Long tasks that run whenever their worker is killed become no dead letters, and end.

    Each kill comes when as many of them as may run beside each other wait, and none has the
    processor: a task that were alone in that, again and again, would have to be taken for poison.
    """
    numbers = range(8)
    for number in numbers:
        send("wait_for", number, broker.url, "released")
    # From the third life on half of the suspects run at a time.
    for beside in (8, 8, 4, 2, 1):
        worker = start(pool, concurrency=8, **SETTINGS)
        until(lambda: len(waiting(broker)) >= beside and not on_cpu(broker))  # noqa: B023 - called here
        worker.send_group(signal.SIGKILL)
        worker.wait()
        until(lambda: not waiting(broker))
    broker.client.rpush("released", *numbers)
    broker.client.rpush("released", *numbers)
    last = start(pool, concurrency=8, **SETTINGS)
    until(lambda: set(last.ends()) == set(numbers))
    until(lambda: is_over(broker, 0))

    assert Counter() == dead_letters(broker)
