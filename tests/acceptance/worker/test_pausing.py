"""Pausing a queue and draining a node, with real workers: nothing is lost, or runs twice."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from celery import Celery

from task_server.actions import RefusedError, drain, pause, requeue, resume, resume_node
from task_server.monitor import snapshot
from task_server.transport.store import workers
from task_server.transport.store.keys import Keys
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, PROJECT
from tests.support.worker import Worker as Process

pytestmark = pytest.mark.slow

KEYS = Keys()

#: So that a worker registers, and reads what is stopped, soon.
TIMING = {"registration": 0.2, "heartbeat": 0.1}

#: celery-batches is where its range allows the Celery that is installed; ours is the same idea.
KINDS = ("own", "published") if find_spec("celery_batches") else ("own",)

#: The key that lets a waiting task go on.
GO = "go"

Start = Callable[..., Process]
Send = Callable[..., None]


def look_again(broker: Redis, times: int = 3) -> None:
    """Wait until the worker that is there has read several times what is stopped."""
    # A run that is gone may still be registered: a Redis that ended may have lost its leaving.
    registered: defaultdict[str, set[float]] = defaultdict(set)

    def has_looked() -> bool:
        for one in workers.all_of(broker.client, KEYS):
            registered[one.run].add(one.at)
        return any(len(seen) > times for seen in registered.values())

    until(has_looked)


def node_of(broker: Redis, name: str) -> str:
    """Return the node of the worker *name*."""

    def found() -> list[str]:
        nodes = [str(one.values["node"]) for one in workers.all_of(broker.client, KEYS)]
        return [one for one in nodes if one.startswith(f"{name}@")]

    return until(found)[0]


@pytest.mark.parametrize("pool", POOLS)
def test_a_pause_under_load(pool: str, broker: Redis, start: Start, send: Send) -> None:
    """
    What runs ends, what was taken goes back in order, nothing starts; then each runs once.
    """
    process = start(pool, concurrency=1, timing=TIMING)
    process.hear("READY=1")
    for number in range(60):
        send("work", number, 0.05)
    until(lambda: len(process.ends()) >= 5)
    pause(broker.client, KEYS, "celery", "me", force=True)
    until(lambda: broker.unacked() == 0)
    look_again(broker)
    started, verdict = process.starts(), process.verdict()

    assert started == process.ends()
    assert 60 == broker.queued() + len(started)
    assert (True, True) == (verdict.alive, verdict.ready)
    assert "paused: celery (by me)" in verdict.reason
    (queue,) = [one for one in snapshot(broker.client, KEYS).queues if one.name == "celery"]
    assert queue.paused is not None
    assert "celery is paused (by me)" in process.output()

    resume(broker.client, KEYS, "celery", "me")
    until(lambda: len(process.ends()) == 60)

    assert {1} == set(process.starts().values())
    assert list(range(60)) == [number for number, _ in process.marks.ended()]
    until(broker.is_empty)


@pytest.mark.parametrize("pool", POOLS)
def test_a_pause_outlives_the_worker_and_redis(
    pool: str, broker: Redis, start: Start, send: Send
) -> None:
    """
    A key in Redis says so, which is there after both were started again.
    """
    first = start(pool, timing=TIMING)
    first.hear("READY=1")
    pause(broker.client, KEYS, "celery", "me", force=True)
    assert 0 == first.stop()
    broker.stop()
    broker.start()
    second = start(pool, timing=TIMING)
    second.hear("READY=1")
    for number in range(3):
        send("work", number)
    until(lambda: "paused" in second.verdict().reason)
    look_again(broker)
    assert {} == second.starts()

    resume(broker.client, KEYS, "celery", "me")
    until(lambda: len(second.ends()) == 3)


@pytest.mark.parametrize("pool", POOLS)
def test_what_waits_for_its_eta_in_the_worker_goes_back(
    pool: str, broker: Redis, start: Start, send: Send
) -> None:
    """
    And comes again; the worker has as much room as before.
    """
    process = start(pool, concurrency=1, prefetch_multiplier=1, delay_seconds=0, timing=TIMING)
    process.hear("READY=1")
    for number in range(3):
        send("work", number, countdown=3600)
    until(lambda: broker.unacked() == 3)
    for _ in range(3):
        pause(broker.client, KEYS, "celery", "me", force=True)
        until(lambda: broker.queued() == 3)
        assert 0 == broker.unacked()
        resume(broker.client, KEYS, "celery", "me")
        until(lambda: broker.unacked() == 3)
    for number in range(3, 6):
        send("work", number)
    until(lambda: len(process.ends()) == 3)

    assert {3: 1, 4: 1, 5: 1} == process.starts()
    until(lambda: broker.unacked() == 3)


def suspect(broker: Redis) -> None:
    """Let each message that waits be one that may have crashed eight workers, beside another."""
    for _ in range(broker.queued()):
        one = json.loads(broker.client.rpop("celery"))  # type: ignore[arg-type]
        one["deaths"] = [{"at": 1.0, "node": "w@h", "pid": 1, "suspects": 2}] * 8
        broker.client.lpush("celery", json.dumps(one))


@pytest.mark.parametrize("pool", POOLS)
def test_what_waits_for_a_suspect_to_end_goes_back(
    pool: str, broker: Redis, start: Start, send: Send
) -> None:
    """
    Suspects run one at a time: the others, and what waits behind them, stay in the queue; then
    each runs once, and the places that they had are free.
    """
    for number in range(3):
        send("wait_for", number, broker.url, f"go-{number}")
    suspect(broker)
    process = start(pool, concurrency=3, timing=TIMING)
    process.hear("READY=1")
    until(lambda: len(process.starts()) == 1 and broker.unacked() == 3)
    for number in (3, 4):
        send("work", number)
    until(lambda: broker.unacked() == 5)
    (first,) = process.starts()
    pause(broker.client, KEYS, "celery", "me", force=True)
    until(lambda: (broker.queued(), broker.unacked()) == (4, 1))
    broker.client.lpush(f"go-{first}", "1")
    until(lambda: broker.unacked() == 0)
    look_again(broker)
    waiting = broker.client.lrange("celery", 0, -1)
    assert {first: 1} == process.starts()
    assert 2 == sum(len(json.loads(one).get("deaths", ())) == 8 for one in waiting)  # type: ignore[union-attr]

    for number in {0, 1, 2} - {first}:
        broker.client.lpush(f"go-{number}", "1")
    resume(broker.client, KEYS, "celery", "me")
    until(lambda: len(process.ends()) == 5)
    assert {1} == set(process.starts().values())
    for number in (10, 11, 12):
        send("wait_for", number, broker.url, GO)
    until(lambda: len(process.starts()) == 8)
    broker.client.lpush(GO, "1", "2", "3")
    until(broker.is_empty)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool", POOLS)
def test_what_is_collected_for_a_batch_goes_back(
    pool: str, kind: str, broker: Redis, start: Start
) -> None:
    """
    It stays in the queue; the batch in which it would have come is put together anew, and none
    runs twice.
    """
    environ = {"BATCH_EVERY": "4", "BATCH_INTERVAL": "3600"}
    process = start(pool, app="batching", timing=TIMING, environ=environ)
    process.hear("READY=1")
    with Celery("batching", broker=broker.url) as sender:
        for number in range(3):
            sender.send_task(f"batching.{kind}", (number,))
        until(lambda: broker.unacked() == 3)
        pause(broker.client, KEYS, "celery", "me", force=True)
        until(lambda: (broker.queued(), broker.unacked()) == (3, 0))
        look_again(broker)
        assert ({}, 3) == (process.starts(), broker.queued())
        resume(broker.client, KEYS, "celery", "me")

        def run_in_batches() -> bool:
            # Of four; what is left over is collected.
            sender.send_task(f"batching.{kind}", (3 + len(sent),))
            sent.append(0)
            return len(process.ends()) >= 8

        sent: list[int] = []
        until(run_in_batches, pause=0.3)
        assert {1} == set(process.starts().values())
        assert {0, 1, 2} <= set(process.ends())
    # And by a stop, while the queue is paused.
    pause(broker.client, KEYS, "celery", "me", force=True)
    until(lambda: broker.unacked() == 0)
    left = broker.queued()
    assert 0 == process.stop()
    assert 3 + len(sent) == left + len(process.ends())
    assert left == broker.queued()


@pytest.mark.parametrize("pool", POOLS)
def test_one_queue_is_paused_and_the_other_is_not(
    pool: str, broker: Redis, start: Start, send: Send
) -> None:
    """
    Of what the worker has taken and not started only that of the paused queue goes back.
    """
    process = start(pool, concurrency=1, queues=["celery", "other"], timing=TIMING)
    process.hear("READY=1")
    send("wait_for", 100, broker.url, GO)
    until(process.starts)
    for number in range(10):
        send("work", number, queue="other" if number % 2 else "celery")
    until(lambda: broker.unacked() >= 2)
    pause(broker.client, KEYS, "celery", "me", force=True)
    until(lambda: broker.client.llen("celery") == 5)
    broker.client.lpush(GO, "1")
    until(lambda: len(process.ends()) == 6)
    look_again(broker)
    assert {1, 3, 5, 7, 9, 100} == set(process.starts())

    resume(broker.client, KEYS, "celery", "me")
    until(lambda: len(process.ends()) == 11)

    assert {1} == set(process.starts().values())


@pytest.mark.parametrize("pool", POOLS)
def test_a_drained_node_finishes_and_takes_nothing(
    pool: str, broker: Redis, start: Start, send: Send
) -> None:
    """
    It stays live and is not ready; another takes over; a process that comes back is drained too.
    """
    process = start(pool, concurrency=1, timing=TIMING)
    process.hear("READY=1")
    node = node_of(broker, "w")
    send("wait_for", 100, broker.url, GO)
    until(process.starts)
    for number in range(5):
        send("work", number)
    until(lambda: broker.unacked() >= 2)
    drain(broker.client, KEYS, node, "me")
    until(lambda: broker.queued() == 5)
    until(lambda: "draining (by me), 1 running" in process.verdict().reason)
    verdict = process.verdict()
    assert (True, False) == (verdict.alive, verdict.ready)
    until(lambda: ["draining"] == [one.state for one in snapshot(broker.client, KEYS).workers])
    (worker,) = snapshot(broker.client, KEYS).workers
    assert worker.drained is not None
    assert "me" == worker.drained.who

    other = start(pool, name="v", timing=TIMING)
    until(lambda: len(other.ends()) == 5)
    broker.client.lpush(GO, "1")
    until(lambda: len(process.ends()) == 6)
    assert process.alive()
    assert 0 == other.stop()

    assert 0 == process.stop()
    again = start(pool, timing=TIMING)
    again.hear("READY=1")
    until(lambda: "draining" in again.verdict().reason)
    send("work", 6)
    look_again(broker)
    assert 1 == broker.queued()

    assert (node,) == resume_node(broker.client, KEYS, "w@*", "me").names
    until(lambda: 6 in again.ends())
    until(lambda: again.verdict().ready)


@pytest.mark.parametrize("pool", POOLS)
def test_what_a_killed_worker_held_is_requeued(
    pool: str, broker: Redis, start: Start, send: Send
) -> None:
    """
    Not while its lease lives; then at once, with no worker there to find it.
    """
    process = start(pool, lease_seconds=5, timing=TIMING)
    process.hear("READY=1")
    node = node_of(broker, "w")
    for number in range(2):
        send("wait_for", number, broker.url, GO)
    until(lambda: len(process.starts()) == 2)
    process.kill()
    with pytest.raises(RefusedError, match="until"):
        requeue(broker.client, KEYS, node, "me")

    def requeued() -> int:
        try:
            return requeue(broker.client, KEYS, node, "me").count
        except RefusedError:
            return 0

    assert 2 == until(requeued)
    assert (2, 0) == (broker.queued(), broker.unacked())
    broker.client.lpush(GO, "1", "2")
    second = start(pool, timing=TIMING)
    until(lambda: len(second.ends()) == 2)

    assert {0: 2, 1: 2} == second.starts()
    assert {0: 1, 1: 1} == second.ends()


def run(
    folder: Path, broker: Redis, *arguments: str, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `task-server` with *arguments* for the project."""
    file = folder / "actions.toml"
    file.write_text(f'app = "proj"\ncode = "{PROJECT}"\nbroker_url = "{broker.url}"\n')
    environ = {**os.environ, "PROJ_LOG": str(folder / "unused"), "TASK_SERVER_BY": "alice"}
    return subprocess.run(
        [sys.executable, "-m", "task_server", *arguments, "--config", str(file)],
        env=environ,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_commands(folder: Path, broker: Redis, start: Start, stock: Start, send: Send) -> None:
    """
    Each says what it did, who is not bound, and why it does not; the audit has it all.
    """
    process = start("prefork", timing=TIMING)
    process.hear("READY=1")
    stock("proj", "--concurrency=1", "--queues=elsewhere", "--hostname=stock@h")
    until(lambda: "stock@h" in [one.node for one in snapshot(broker.client, KEYS).workers])
    node = node_of(broker, "w")
    paused = run(folder, broker, "pause", "celery")
    assert (0, "celery is paused\n") == (paused.returncode, paused.stdout), paused.stderr
    assert "not bound by it" in paused.stderr
    assert "stock@h" in paused.stderr
    unknown = run(folder, broker, "pause", "celry")
    assert 1 == unknown.returncode
    assert "did you mean 'celery'?" in unknown.stderr
    shown = run(folder, broker, "status")
    assert 1 == shown.returncode
    assert "paused by alice since" in shown.stdout
    assert "task-server resume celery" in shown.stdout
    checked = run(folder, broker, "check", "--live")
    assert "celery (by alice since" in checked.stdout
    for number in range(3):
        send("work", number)
    closed = run(folder, broker, "purge", "celery", given="")
    assert 1 == closed.returncode
    assert "--yes does not ask" in closed.stderr
    refused = run(folder, broker, "purge", "celery", given="n\n")
    assert "Delete 3 waiting, 0 delayed of celery for good?" in refused.stderr
    assert 3 == broker.queued()
    assert "deleted of celery: 3 waiting" in run(folder, broker, "purge", "celery", "--yes").stdout
    assert "gives messages again" in run(folder, broker, "resume", "celery").stdout
    nothing = run(folder, broker, "resume", "celery")
    assert 1 == nothing.returncode
    assert "neither paused nor drained" in nothing.stderr
    assert node in run(folder, broker, "drain", "w@*").stdout
    assert "would not obey" in run(folder, broker, "drain", "stock@h").stderr
    assert "takes messages again" in run(folder, broker, "resume", node).stdout
    held = run(folder, broker, "requeue", "--node", node)
    assert (0, f"0 messages of {node} are back in their queues\n") == (
        held.returncode,
        held.stdout,
    )
    found = json.loads(run(folder, broker, "audit", "--json").stdout)
    assert ["resume", "drain", "resume", "purge", "pause"] == [one["action"] for one in found]
    assert {"alice"} == {one["who"] for one in found}
    assert 5 == len(run(folder, broker, "audit").stdout.splitlines())


def test_a_hundred_thousand_are_purged(folder: Path, broker: Redis) -> None:
    """
    Of one task, and of all, while none of it keeps Redis from its other work.
    """
    text = '{"body": "W10=", "headers": {"task": "proj.%s"}, "properties": {"delivery_tag": "%d"}}'
    for first in range(0, 100_000, 1000):
        numbers = range(first, first + 1000)
        broker.client.lpush("celery", *(text % (("a", "b")[n % 2], n) for n in numbers))
    one = run(folder, broker, "purge", "celery", "--task", "proj.a", "--yes")
    left = broker.queued()
    rest = run(folder, broker, "purge", "celery", "--yes")

    assert "deleted of celery: 50000 waiting" in one.stdout, one.stderr
    assert 50_000 == left
    assert "deleted of celery: 50000 waiting" in rest.stdout
    assert 0 == broker.queued()
