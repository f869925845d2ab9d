"""Tasks that are due later wait in Redis: under both pools, from any producer, whatever happens."""

import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import EITHER, POOLS, Worker

#: What is due in more seconds waits in Redis.
DELAYS = {"app": "delaying", "delay_seconds": 0.5}

#: Seconds by which gevent's timers, and so Celery's under it, may be early.
EARLY = 0.05


def runs(worker: Worker) -> dict[int, list[float]]:
    """Return the times at which each task ran, in any worker of the test."""
    found: dict[int, list[float]] = defaultdict(list)
    for line in worker.log.read_text().splitlines():
        word, number, when = line.split()
        assert word == "run"
        found[int(number)].append(float(when))
    return found


@pytest.fixture
def results(broker: Redis) -> dict[str, Any]:
    """Have the settings of a worker that stores results."""
    return {**DELAYS, "environ": {"TASK_SERVER_RESULT_BACKEND": broker.url}}


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_holds_no_task_that_is_due_later(
    pool: str, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    They wait in Redis, run once each and never early, and those that are due now do not wait.
    """
    due = {number: time.time() + 3 + number / 10 for number in range(20)}
    for number, when in due.items():
        eta = datetime.fromtimestamp(when, UTC)
        app.send_task("delaying.work", (number,), eta=eta, priority=number % 4 * 3)
    app.send_task("delaying.work", (100,))
    worker = start(pool, **DELAYS)
    worker.hear("READY=1")
    until(lambda: runs(worker)[100])
    if time.time() < due[0] - 1:
        until(lambda: broker.delayed() == 20)
        assert 0 == broker.unacked()
    until(lambda: len(runs(worker)) == 21 and broker.is_empty())
    found = runs(worker)

    assert {1} == {len(times) for times in found.values()}
    assert [] == [number for number, when in due.items() if found[number][0] < when - EARLY]
    assert "Traceback" not in worker.output()


@pytest.mark.parametrize("pool", POOLS)
def test_an_idle_worker_runs_a_task_when_it_is_due(
    pool: str, start: Callable[..., Worker], app: Celery
) -> None:
    """
    Nothing else wakes it, and it is not late: the quickest of three by less than a second.
    """
    worker = start(pool, **DELAYS)
    worker.hear("READY=1")
    late = []
    for number in range(3):
        due = time.time() + 2
        app.send_task("delaying.work", (number,), eta=datetime.fromtimestamp(due, UTC))
        until(lambda number=number: runs(worker)[number])
        late.append(runs(worker)[number][0] - due)

    assert min(late) > -EARLY
    assert min(late) < 1


@pytest.mark.parametrize("pool", EITHER)
def test_a_revoked_task_is_dropped_when_it_is_due(
    pool: str, broker: Redis, start: Callable[..., Worker], app: Celery, results: Any
) -> None:
    """
    As with Celery: its result says so, and it does not run; one that expired neither.
    """
    worker = start(pool, **results)
    worker.hear("READY=1")
    revoked = app.send_task("delaying.work", (1,), countdown=10)
    expired = app.send_task("delaying.work", (2,), countdown=10, expires=1)
    until(lambda: broker.delayed() == 2)
    # Under gevent its remote control may come after it is ready.
    until(lambda: app.control.revoke(revoked.id, reply=True))
    until(lambda: (revoked.state, expired.state) == ("REVOKED", "REVOKED"))
    until(broker.is_empty)

    assert {} == runs(worker)


@pytest.mark.parametrize("pool", EITHER)
def test_a_retry_with_a_countdown_waits_in_redis(
    pool: str, broker: Redis, start: Callable[..., Worker], app: Celery, results: Any
) -> None:
    """
    Each attempt is a message of its own, which is delayed as well; the old one is acknowledged.
    """
    worker = start(pool, **results)
    worker.hear("READY=1")
    result = app.send_task("delaying.again", (1, 5))
    until(lambda: len(runs(worker)[1]) == 1)
    until(lambda: (broker.delayed(), broker.unacked()) == (1, 0))
    assert "RETRY" == result.state
    assert 2 == result.get(timeout=60)
    until(broker.is_empty)
    first, second, third = runs(worker)[1]

    assert second - first >= 5
    assert third - second >= 5


@pytest.mark.parametrize("pool", EITHER)
def test_a_rate_limit_holds_for_tasks_that_are_due_at_once(
    pool: str, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    Six that are due together run one after the other.
    """
    worker = start(pool, **DELAYS)
    worker.hear("READY=1")
    for number in range(6):
        app.send_task("delaying.limited", (number,), countdown=8)
    until(lambda: broker.delayed() == 6)
    until(lambda: len(runs(worker)) == 6 and broker.is_empty())
    times = sorted(when for found in runs(worker).values() for when in found)

    assert 6 == len(times)
    assert times[-1] - times[0] > 0.9


@pytest.mark.parametrize("pool", EITHER)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_delayed_task_outlives_its_worker(
    pool: str, number: int, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    A stop gives nothing back, a kill loses nothing: the next worker runs it, though it came late.
    """
    worker = start(pool, **DELAYS)
    worker.hear("READY=1")
    app.send_task("delaying.work", (1,), countdown=8)
    until(lambda: broker.delayed() == 1)
    worker.send_group(number)
    worker.wait()
    assert (0, 1, 0) == (broker.queued(), broker.delayed(), broker.unacked())

    other = start(pool, **DELAYS)
    other.hear("READY=1")
    until(lambda: runs(other)[1] and broker.is_empty())

    assert 1 == len(runs(other)[1])


@pytest.mark.parametrize("pool", EITHER)
def test_stock_workers_beside(
    pool: str, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    One with Kombu's transport on the same queue keeps what it fetched; each task runs once.
    """
    workers = [start(pool, **DELAYS), start(pool, **DELAYS, transport="kombu")]
    for worker in workers:
        worker.hear("READY=1")
    due = {number: time.time() + 2 + number / 20 for number in range(60)}
    for number, when in due.items():
        app.send_task("delaying.work", (number,), eta=datetime.fromtimestamp(when, UTC))
    until(lambda: len(runs(workers[0])) == 60 and broker.is_empty())
    found = runs(workers[0])

    assert {1} == {len(times) for times in found.values()}
    assert [] == [number for number, when in due.items() if found[number][0] < when - EARLY]


@pytest.mark.parametrize("pool", EITHER)
def test_an_eta_without_an_offset_waits_in_a_worker(
    pool: str, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    Its time zone is the app's, which no script knows.
    """
    worker = start(pool, **DELAYS)
    worker.hear("READY=1")
    eta = datetime.now(UTC) + timedelta(seconds=8)
    app.send_task("delaying.work", (1,), eta=eta.replace(tzinfo=None).isoformat())
    until(lambda: broker.unacked() == 1)
    assert 0 == broker.delayed()
    until(lambda: runs(worker)[1] and broker.is_empty())

    assert 1 == len(runs(worker)[1])


def command(folder: Path, *arguments: str) -> str:
    """Run `task-server delayed` with the configuration of the worker."""
    done = ended(folder, *arguments)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def ended(folder: Path, *arguments: str, answer: str = "") -> "subprocess.CompletedProcess[str]":
    """Run it with an *answer* to its question; it may fail."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "task_server", "delayed", *arguments),
            *("--config", str(folder / "task-server.toml")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        input=answer,
        check=False,
    )


def test_the_command_lists_counts_and_releases(
    folder: Path, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    A stock worker runs what was released: the way back to Celery's own workers.
    """
    worker = start("prefork", **DELAYS)
    worker.hear("READY=1")
    later = app.send_task("delaying.work", (1,), countdown=600)
    until(lambda: broker.delayed() == 1)
    sooner = app.send_task("delaying.work", (2,), countdown=500)
    until(lambda: broker.delayed() == 2)
    worker.send(signal.SIGTERM)
    worker.wait()

    assert "celery  2\n" == command(folder, "count")
    assert {"celery": 2} == json.loads(command(folder, "count", "--json"))
    assert {"other": 0} == json.loads(command(folder, "count", "other", "--json"))
    listed = json.loads(command(folder, "list", "--json"))
    assert ["delaying.work", "delaying.work"] == [one["task"] for one in listed]
    assert later.id == listed[1]["id"]
    assert f"celery  delaying.work[{later.id}]" in command(folder, "list")
    assert "and 1 more" in command(folder, "list", "celery", "--limit", "1")
    assert "no delayed tasks\n" == command(folder, "release", "other")
    assert "celery  2\n" == command(folder, "release")
    assert (2, 0) == (broker.queued(), broker.delayed())
    assert "no delayed tasks\n" == command(folder, "count")

    make_due(broker, sooner.id)
    stock = start("prefork", transport="kombu", app="delaying")
    stock.hear("READY=1")
    until(lambda: runs(stock)[2])
    until(lambda: (broker.queued(), broker.unacked()) == (0, 1))


def make_due(broker: Redis, id_: str) -> None:
    """Let the task *id_*, which is queued, be due now."""
    for place, text in enumerate(broker.client.lrange("celery", 0, -1)):  # type: ignore[arg-type]
        message = json.loads(text)
        if message["headers"]["id"] == id_:
            message["headers"]["eta"] = datetime.now(UTC).isoformat()
            broker.client.lset("celery", place, json.dumps(message))


def test_the_command_deletes_what_its_options_name(
    folder: Path, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    It says the number and asks first; without an answer, or after a no, nothing is deleted.
    """
    worker = start("prefork", **DELAYS)
    worker.hear("READY=1")
    for name, queue in (("work", "celery"), ("limited", "celery"), ("work", "celery")):
        app.send_task(f"delaying.{name}", (1,), countdown=600, queue=queue)
    until(lambda: broker.delayed() == 3)
    worker.send(signal.SIGTERM)
    worker.wait()

    assert "no such delayed tasks\n" == command(folder, "drop", "--queue", "other", "--yes")
    assert "no such delayed tasks\n" == command(folder, "drop", "--older-than", "86400", "--yes")
    assert "1 delayed task deleted\n" == command(
        *(folder, "drop", "--task", "delaying.limited", "--queue", "celery", "--yes")
    )
    for answer in ("", "n\n"):
        done = ended(folder, "drop", answer=answer)
        assert (1, "") == (done.returncode, done.stdout)
        assert "Delete 2 delayed tasks for good?" in done.stderr
        assert "Nothing is deleted" in done.stderr
        assert "Traceback" not in done.stderr
    assert 2 == broker.delayed()
    done = ended(folder, "drop", answer="y\n")
    assert (0, "2 delayed tasks deleted\n") == (done.returncode, done.stdout)
    assert 0 == broker.delayed()


def test_a_purge_without_ours_leaves_delayed_tasks(
    folder: Path, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    As docs/how-to/delayed-tasks.md says: a stock client knows only the lists; `drop` deletes them.
    """
    worker = start("prefork", **DELAYS)
    worker.hear("READY=1")
    app.send_task("delaying.work", (1,), countdown=600)
    until(lambda: broker.delayed() == 1)
    worker.send(signal.SIGTERM)
    worker.wait()
    app.send_task("delaying.work", (2,))
    assert 1 == app.control.purge()

    assert (0, 1) == (broker.queued(), broker.delayed())
    assert "1 delayed task deleted\n" == command(folder, "drop", "--yes")


@pytest.mark.parametrize("pool", EITHER)
def test_many_delayed_tasks_cost_a_worker_nothing(
    pool: str, broker: Redis, start: Callable[..., Worker], app: Celery
) -> None:
    """
    Ten thousand are moved away by a worker that then has none: it runs others, stops, starts.
    """
    app.send_task("delaying.work", (1,), countdown=3600)
    text = broker.client.lpop("celery")
    broker.client.lpush("celery", *[text] * 10_000)  # type: ignore[list-item]
    app.send_task("delaying.work", (2,))
    worker = start(pool, **DELAYS)
    worker.hear("READY=1")
    until(lambda: broker.delayed() == 10_000)
    until(lambda: runs(worker)[2])
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))
    beat = until(worker.heartbeat)
    worker.send(signal.SIGTERM)

    assert 0 == worker.wait()
    assert 0 == beat.reserved
    assert (0, 10_000) == (broker.queued(), broker.delayed())
