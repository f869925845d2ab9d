"""Every kind of task, beside stock workers and producers, while ours are killed."""

import random
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.lab import Redis
from tests.support.lab.lanes import Kind
from tests.support.lab.mixed import SETTINGS, Fleet, Member, Outcome, fleet_of
from tests.support.lab.table import Cell, Table
from tests.support.postgres import Postgres
from tests.support.worker import POOLS

#: A worker is left alone for up to so many seconds after it is ready.
LONGEST_LIFE = 0.5

#: What is killed of each pool, in turns.
VICTIMS = {"prefork": ("group", "child", "main"), "gevent": ("group", "main")}

#: With which Celery's own flaws are ours.
CELERYS_STORE = "result_store = celery"

#: Each cure on, and each off in turn.
SWITCHES: dict[str, dict[str, Any]] = {
    "all on": {},
    "database_max_age = 0": {"database_max_age": 0},
    "delay_seconds = 0": {"delay_seconds": 0},
    "producer = false": {"producer": False},
    CELERYS_STORE: {"result_store": "celery"},
    "prefetch_bytes = 0": {"prefetch_bytes": 0},
    "resolver_threads = 10": {"resolver_threads": 10},
}


@pytest.fixture
def broker(redis_server: Callable[..., Redis], folder: Path) -> Redis:
    """Return a running Redis that knows the stock worker's user."""
    settings = folder / "redis.conf"
    settings.write_text(SETTINGS)
    return redis_server(settings=settings)


def kill_again_and_again(member: Member, kills: int) -> None:
    """Kill *member* so often, each time under load."""
    chance, pause = random.Random(member.pool), Event()
    victims = VICTIMS[member.pool]
    for number in range(kills):
        pause.wait(chance.uniform(0.05, LONGEST_LIFE))
        member.kill(victims[number % len(victims)], chance)


def note(
    table: Table, name: str, fleet: Fleet, outcome: Outcome, celerys: Collection[int] = ()
) -> None:
    """
    Note a row for each pool: what was sent and lost by all, and what it ran again.

    Args:
        celerys: What Celery's own store lost.
    """
    for member in fleet.members:
        runs = [outcome.runs[one] for one in outcome.twice()]
        extra = sum(any(run.who.startswith(member.pool) for run in some) for some in runs)
        cell = Cell(
            sent=len(outcome.sent),
            lost=len(outcome.lost() - set(celerys)),
            extra=extra,
            alive=f"yes, {member.starts - 1} x new",
        )
        table.add(name, Kind("atomic", member.pool, "late"), cell)


@pytest.mark.timeout(3600 * 2)
@pytest.mark.parametrize(
    "switch",
    [
        pytest.param(name, marks=() if name == "all on" else pytest.mark.nightly)
        for name in SWITCHES
    ],
)
def test_kills_beside_stock_workers(
    switch: str, kills: int, database: Postgres, broker: Redis, table: Table
) -> None:
    """
    Nothing is lost, and only what a killed process had started runs again.

    The stock worker and the producers live: what is lost is ours to answer for.
    """
    with fleet_of(broker, database.url, **SWITCHES[switch]) as fleet:
        with fleet.fed(), ThreadPoolExecutor() as threads:
            jobs = [threads.submit(kill_again_and_again, one, kills) for one in fleet.members]
            for job in jobs:
                job.result()
        fleet.finish(180)
        outcome = fleet.outcome()
    again = {one for one in outcome.twice() if not outcome.was_killed(one)}
    lost, wrong = outcome.lost(), outcome.wrong
    # A part that is killed with its claim on the body, and runs again before that has expired,
    # leaves the body unsent if Celery's own store made the claim.
    chords: set[int] = set()
    if switch == CELERYS_STORE:
        chords = {one for one in lost if one in outcome.headers and outcome.was_killed(one)}
    note(table, f"beside stock, kill -9 x {kills}, {switch}", fleet, outcome, chords)
    lost, wrong = lost - chords, [line for line in wrong if int(line.split()[1]) not in chords]
    assert set() == outcome.unsure
    assert set() == lost, outcome.told(lost)
    assert set() == again, outcome.told(again)
    assert [] == wrong


def cut(fleet: Fleet) -> None:
    """Cut the connections of Redis, some times."""
    for _ in range(3):
        for kind in ("normal", "pubsub"):
            fleet.broker.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        Event().wait(0.3)


def restart(fleet: Fleet) -> None:
    """Restart Redis."""
    fleet.broker.stop()
    Event().wait(1)
    fleet.broker.start()


FAULTS = {"Redis CLIENT KILL": cut, "Redis restart": restart}


@pytest.mark.timeout(3600)
def test_restarts_of_the_servers_beside_stock_workers(
    kills: int, database: Postgres, broker: Redis, table: Table
) -> None:
    """
    Nothing is lost, and no message runs twice: nobody was killed.

    A send that is retried may be there twice, as with Celery: two messages. The stock
    worker runs again what it had when its connection was lost, and does not end its chords.
    """
    # What it has then comes back after the time-out.
    with fleet_of(broker, database.url, visibility=20) as fleet:
        with fleet.fed():
            for number in range(max(1, kills // 6)):
                for fault in FAULTS.values():
                    with fleet.stock_paused():
                        fault(fleet)
                database.kill() if number % 2 else database.stop()
                Event().wait(1)
                database.start()
                fleet.resumes(*POOLS)
        fleet.finish(240)
        outcome = fleet.outcome()
    stocks = {one for one in outcome.lost() if outcome.was_stocks(one)}
    # As many that nobody has started as the stock worker may have taken when it was ended.
    stocks.update(
        sorted(one for one in outcome.lost() if one not in outcome.runs)[: fleet.stock_ends]
    )
    note(table, "beside stock, Redis and PostgreSQL restart", fleet, outcome, stocks)
    lost = outcome.lost() - stocks
    again = {one for one in outcome.redelivered() if not outcome.was_stocks(one)}
    assert set() == lost, outcome.told(lost)
    assert set() == again, outcome.told(again)
