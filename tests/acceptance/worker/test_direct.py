"""Children that fetch for themselves (`fetch = "direct"`): nothing is given up for it."""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import Worker

Start = Callable[..., Worker]
Send = Callable[..., None]

pytestmark = pytest.mark.parametrize("transport", ["atomic"], indirect=True)

#: For what both engines must do.
BOTH_ENGINES = pytest.mark.parametrize("fetch", ["direct", "central"])

OPENED = "children that have ended a task fetch for themselves"


def busy(start: Start, send: Send, *, fetch: str, **settings: Any) -> Worker:
    """
    Start a worker whose only child runs a task that is released by `release`.

    What is sent meanwhile the child fetches when that task has ended.
    """
    worker = start("prefork", fetch=fetch, **({"concurrency": 1} | settings)).ready()
    url = worker.broker.url
    for number in range(-worker_size(settings), 0):
        send("wait_for", number, url, "release")
    until(lambda: len(worker.starts()) == worker_size(settings))
    return worker


def worker_size(settings: dict[str, Any]) -> int:
    return int(settings.get("concurrency", 1))


def release(worker: Worker, count: int = 1) -> None:
    """Let the tasks of `busy` end."""
    worker.broker.client.rpush("release", *range(count))


def received_by(worker: Worker) -> Counter[str]:
    """Return which processes have logged that they received a task."""
    return Counter(
        re.findall(r"INFO/(\w+)[^\]]*\] Task proj\.\w+\[[^\]]+\] received", worker.output())
    )


def total_of(app: Celery, task: str) -> int:
    """Return how many of *task* the worker says to have run."""
    answers = app.control.inspect().stats() or {}
    return sum(answer["total"].get(task, 0) for answer in answers.values())


def is_done(worker: Worker, count: int) -> Callable[[], bool]:
    return lambda: len(worker.ends()) == count and worker.broker.is_empty()


@BOTH_ENGINES
def test_each_message_is_run_once(fetch: str, start: Start, send: Send, app: Celery) -> None:
    """
    All run once, are acknowledged and counted; with `direct` the children have fetched most.
    """
    worker = busy(start, send, fetch=fetch, concurrency=2)
    for number in range(200):
        send("work", number)
    release(worker, 2)
    until(is_done(worker, 202))

    assert {1} == set(worker.starts().values())
    received = received_by(worker)
    assert 202 == received.total()
    assert (received["ForkPoolWorker"] > 100) == (fetch == "direct"), received
    until(lambda: total_of(app, "proj.work") == 200)
    assert 0 == worker.stop()


@BOTH_ENGINES
def test_no_message_waits_behind_a_long_task(fetch: str, start: Start, send: Send) -> None:
    """
    While one of two children is busy for long, the other runs all there is.
    """
    worker = busy(start, send, fetch=fetch, concurrency=2, prefetch_multiplier=1)
    for number in range(300):
        send("work", number, 0.001)
    release(worker)
    until(lambda: len(worker.ends()) == 301)
    assert 1 == worker.broker.unacked()
    release(worker)
    until(is_done(worker, 302))


@BOTH_ENGINES
def test_a_child_that_is_killed_loses_nothing(fetch: str, start: Start, send: Send) -> None:
    """
    Wherever it is killed, fetching, running or acknowledging: what it had is run again.
    """
    worker = busy(start, send, fetch=fetch, concurrency=2, poison_limit=0, lease_seconds=5)
    for number in range(600):
        send("work", number, 0.002)
    release(worker, 2)
    for share in range(1, 6):
        until(lambda share=share: len(worker.ends()) > share * 90)
        with suppress(ProcessLookupError, IndexError):
            os.kill(worker.children()[0], signal.SIGKILL)
    until(lambda: set(worker.ends()) >= set(range(600)))
    until(worker.broker.is_empty)

    assert worker.alive()
    assert 0 == worker.stop()


@BOTH_ENGINES
def test_a_stop_leaves_what_has_not_started(fetch: str, start: Start, send: Send) -> None:
    """
    SIGTERM under load: what runs ends, the rest is in the queue, and nothing has run twice.
    """
    worker = busy(start, send, fetch=fetch, concurrency=2)
    for number in range(2000):
        send("work", number, 0.001)
    release(worker, 2)
    until(lambda: len(worker.ends()) > 100)
    worker.send(signal.SIGTERM)
    assert 0 == worker.wait()

    starts, ends = worker.starts(), worker.ends()
    assert starts == ends
    assert {1} == set(starts.values())
    assert 0 == worker.broker.unacked()
    assert 2002 == len(ends) + worker.broker.queued()


@BOTH_ENGINES
def test_time_limits_end_a_task(fetch: str, start: Start, app: Celery, send: Send) -> None:
    """
    The hard limit ends the process and fails the task, the soft one interrupts it; others run.
    """
    worker = busy(start, send, fetch=fetch)
    app.send_task("proj.work", (1, 600), time_limit=2)
    app.send_task("proj.work", (2, 600), soft_time_limit=1.5)
    send("work", 3)
    release(worker)
    until(lambda: 3 in worker.ends())
    until(worker.broker.is_empty)

    assert "Hard time limit (2s) exceeded for proj.work" in worker.output()
    assert "Soft time limit (1.5s) exceeded for proj.work" in worker.output()
    assert {-1: 1, 3: 1} == worker.ends()


@BOTH_ENGINES
def test_a_running_task_is_seen_and_terminated(
    fetch: str, start: Start, app: Celery, send: Send
) -> None:
    """
    `inspect active` names what a child runs, `revoke` ends it, and one that waits does not start.
    """
    worker = busy(start, send, fetch=fetch)
    running = app.send_task("proj.work", (1, 600))
    waiting = app.send_task("proj.work", (2,))
    release(worker)
    until(lambda: 1 in worker.starts())
    (active,) = until(lambda: app.control.inspect().active()).values()
    assert [running.id] == [one["id"] for one in active]
    app.control.revoke(waiting.id, reply=True)
    app.control.revoke(running.id, terminate=True, reply=True)
    send("work", 3)
    until(lambda: 3 in worker.ends())
    until(worker.broker.is_empty)

    assert {-1: 1, 1: 1, 3: 1} == worker.starts()


@BOTH_ENGINES
def test_what_a_child_does_not_serve_passes_through_the_main_process(
    fetch: str, start: Start, app: Celery, send: Send
) -> None:
    """
    A near ETA, an end, an early acknowledgement, an unknown task, no JSON: each as ever.
    """
    worker = busy(start, send, fetch=fetch, delay_seconds=5)
    send("work", 0)
    send("work", 1, countdown=1)
    send("work", 2, expires=600)
    send("work", 3, expires=-1)
    send("early", 4, 0)
    app.send_task("proj.nobody", (5,))
    worker.broker.client.lpush("celery", "no JSON")
    send("work", 6, shadow="other")
    send("work", 7)
    release(worker)
    until(lambda: set(worker.ends()) == {-1, 0, 1, 2, 4, 6, 7})
    until(lambda: worker.broker.client.hlen("unacked.dead") == 1)
    until(lambda: worker.broker.client.llen("unacked.unreadable") == 1)
    until(worker.broker.is_empty)

    assert {1} == set(worker.starts().values())
    assert 0 == worker.stop()


@BOTH_ENGINES
def test_a_failure_is_celerys(fetch: str, start: Start, app: Celery, send: Send) -> None:
    """
    A task that raises has failed, for its caller too, and is kept; those behind it run.
    """
    settings = {"environ": {"CELERY_RESULT_BACKEND": app.backend.as_uri(include_password=True)}}
    worker = busy(start, send, fetch=fetch, **settings)
    failing = app.send_task("proj.answer", (1, "no number"))
    kept = app.send_task("proj.answer", (2,))
    release(worker)

    assert 2 == kept.get(timeout=120)
    with pytest.raises(TypeError):
        failing.get(timeout=120)
    until(worker.broker.is_empty)
    until(lambda: worker.broker.client.hlen("unacked.failed") == 1)


@BOTH_ENGINES
def test_children_are_replaced(fetch: str, start: Start, send: Send) -> None:
    """
    A child that has run as many tasks as it may ends, and none is lost or run twice by that.
    """
    worker = busy(start, send, fetch=fetch, extra_args=["--max-tasks-per-child=10"])
    for number in range(60):
        send("work", number)
    release(worker)
    until(is_done(worker, 61))

    assert {1} == set(worker.starts().values())
    assert len(worker.pids()) >= 6


@BOTH_ENGINES
def test_a_lost_connection_loses_nothing(
    fetch: str, start: Start, send: Send, broker: Redis
) -> None:
    """
    Redis closes all connections, again and again: all is run, the worker goes on.
    """
    worker = busy(start, send, fetch=fetch, concurrency=2, lease_seconds=5)
    for number in range(600):
        send("work", number, 0.002)
    release(worker, 2)
    for share in range(1, 6):
        until(lambda share=share: len(worker.ends()) > share * 90)
        broker.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    until(lambda: set(worker.ends()) >= set(range(600)))
    until(broker.is_empty)

    assert worker.alive()
    assert 0 == worker.stop()


def test_a_worker_of_gevent_says_that_it_cannot(start: Start, send: Send) -> None:
    """
    It works as with `central`, and says once why.
    """
    worker = start("gevent", fetch="direct").ready()
    send("work", 1)
    until(is_done(worker, 1))

    said = "fetch = direct is set, and messages pass through the main process: the pool is gevent"
    assert 1 == worker.output().count(said)


def test_while_events_are_sent_all_passes_through_the_main_process(
    start: Start, send: Send, app: Celery
) -> None:
    """
    Somebody who watches gets the events of each task, which the main process sends.
    """
    worker = busy(start, send, fetch="direct")
    assert 1 == worker.output().count(OPENED)
    until(lambda: app.control.enable_events(reply=True))
    for number in range(5):
        send("work", number)
    release(worker)
    until(is_done(worker, 6))

    assert "messages pass through the main process: task events are sent" in worker.output()
    assert {"MainProcess": 6} == received_by(worker)
