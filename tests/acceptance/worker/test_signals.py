"""Celery's signals come as they do in a worker of stock Celery."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

pytestmark = pytest.mark.slow

TASKS = ("succeed", "fail", "again", "unknown", "finish")

#: One comes when it comes.
WITH_TIME = {"heartbeat_sent"}


def heard(log: Path) -> dict[str, list[Any]]:
    """Return the signals of the main process and of the child of its pool, in their order."""
    found: dict[str, list[Any]] = {"main": [], "child": [], "at times": []}
    for line in log.read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "signal":
            where, name, *details = json.loads(rest)
            if name in WITH_TIME:
                if name not in found["at times"]:
                    found["at times"].append(name)
            else:
                found[where].append((name, *details))
    return found


def in_order(signals: list[Any]) -> list[Any]:
    """Return *signals* that have one order: a retry is sent, and received, beside its sender."""
    publishing = {"before_task_publish", "after_task_publish"}
    return [
        one for one in signals if one[1] != "again" and one[0] not in {"task_received", *publishing}
    ]


def life(worker: Worker, number: int, send: Callable[..., None]) -> dict[str, list[Any]]:
    """Let a worker start, run the tasks, and stop; return the signals that were received."""
    log = worker.log
    until(lambda: "worker_ready" in log.read_text())
    for task in TASKS:
        before = len(log.read_text().splitlines())
        send(f"signalling.{task}")
        # One after the other, so that there is one order.
        last = {
            "unknown": "task_unknown",
            "succeed": "task_postrun",
            "fail": "task_postrun",
            "again": "task_success",
            "finish": "task_success",
        }[task]
        until(
            lambda before=before, last=last: any(
                f'"{last}"' in line for line in log.read_text().splitlines()[before:]
            )
        )
    worker.send(number)
    assert 0 == worker.wait()
    return heard(log)


@pytest.fixture
def deliver(broker: Redis) -> Any:
    from celery import Celery  # noqa: PLC0415

    sender = Celery("signalling", broker=broker.url)
    yield sender.send_task
    sender.close()


@pytest.mark.parametrize("app", ["signalling", "packaged"])
@pytest.mark.parametrize("pool", POOLS)
def test_the_signals_of_a_worker_are_those_of_stock_celery(
    *,
    pool: str,
    app: str,
    stock: Callable[..., Worker],
    start: Callable[..., Worker],
    deliver: Callable[..., None],
) -> None:
    """
    In their order, with their senders and arguments, from the first to the last.
    """
    arguments = ("--hostname=w@%h", f"--pool={pool}", "--concurrency=1")
    alone = stock(app, *arguments, "--without-gossip", "--without-mingle")
    expected = life(alone, signal.SIGTERM, deliver)
    found = life(start(pool, app=app, concurrency=1), signal.SIGTERM, deliver)

    for where in ("main", "child"):
        assert in_order(expected[where]) == in_order(found[where])
        assert sorted(map(str, expected[where])) == sorted(map(str, found[where]))
    assert expected["at times"] == found["at times"]
    names = {name for name, *_ in found["main"]}
    assert {"worker_ready", "worker_shutting_down", "worker_shutdown"} <= names
    if pool == "prefork":
        children = {name for name, *_ in found["child"]}
        assert {"worker_process_init", "task_success", "worker_process_shutdown"} <= children


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGTERM, "Warm"), (signal.SIGINT, "Warm"), (signal.SIGQUIT, "Cold")]
)
@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_stops_says_so(
    *, pool: str, number: int, how: str, start: Callable[..., Worker]
) -> None:
    """
    `worker_shutting_down` has the signal, and how; the exit code is always 0.
    """
    worker = start(pool, app="signalling")
    until(lambda: "worker_ready" in worker.log.read_text())

    worker.send(number)
    assert 0 == worker.wait()

    said = [details for name, *details in heard(worker.log)["main"] if name == SHUTTING_DOWN]
    plain = {"sig": signal.Signals(number).name, "how": how, "exitcode": 0}
    assert [["w", ["exitcode", "how", "sig"], plain]] == said


SHUTTING_DOWN = "worker_shutting_down"


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_without_redis_says_that_it_stops(
    pool: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    Also while it connects to Redis, and no event loop runs.
    """
    broker.stop()
    worker = start(pool, app="signalling")
    until(lambda: (beat := worker.heartbeat()) and beat.connecting_since)

    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()

    assert 1 == [name for name, *_ in heard(worker.log)["main"]].count(SHUTTING_DOWN)
