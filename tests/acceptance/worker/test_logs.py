"""Logs as JSON tell a task's story: each line has what a collector filters by."""

import json
import signal
from collections.abc import Callable
from socket import gethostname
from typing import Any

import pytest
from celery import Celery

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import EITHER, POOLS, Worker

#: Tests of the retries take longer than its default.
LONG = 300


def lines(worker: Worker) -> list[dict[str, Any]]:
    """Return the complete lines that *worker* has logged so far."""
    whole = worker.output().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in whole if line.startswith("{")]


def of(worker: Worker, task: str) -> list[dict[str, Any]]:
    """Return those about the task with this id."""
    return [one for one in lines(worker) if one.get("task_id") == task]


@pytest.mark.parametrize("pool", POOLS)
def test_each_line_of_a_task_has_its_name_id_queue_and_tries(
    pool: str, start: Callable[..., Worker], app: Celery
) -> None:
    """
    Of three tries that fail the last one is the failure; the one that succeeds says how long.
    """
    worker = start(pool, app="counting", log_format="json").ready()
    failing = app.send_task("counting.retried")
    passing = app.send_task("counting.good")

    # Each child writes when it gets to it: the last try may be told before the second.
    until(lambda: {1, 2, 3} == {one["tries"] for one in of(worker, failing.id) if "tries" in one})
    succeeded = until(lambda: [one for one in lines(worker) if "succeeded" in one["message"]])
    said = of(worker, failing.id)

    tries = [one for one in said if "tries" in one]
    assert [3] == [one["tries"] for one in tries if one["level"] == "error"]
    assert {"celery"} == {one["queue"] for one in tries}
    assert {False} == {one["redelivered"] for one in tries}
    assert all(one["seconds"] >= 0 for one in tries)
    assert {"counting.retried"} == {one["task_name"] for one in said}
    assert {f"w@{gethostname()}"} == {one["worker"] for one in lines(worker)}
    assert (passing.id, 1) == (succeeded[0]["task_id"], succeeded[0]["tries"])


@pytest.mark.parametrize("pool", EITHER)
def test_a_redelivered_task_says_who_had_it(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Its lines say that it is one; those of the main process, by whom and until when it was held.
    """
    first = start(pool, lease_seconds=LONG).ready()
    send("work", 1, 60.0)
    until(first.starts)
    until(lambda: broker.unacked() == 1)
    first.send_group(signal.SIGKILL)
    first.wait()
    second = start(pool, lease_seconds=LONG, log_format="json").ready()

    held = until(lambda: [one for one in lines(second) if "last_held" in one])

    assert {True} == {one["redelivered"] for one in held}
    assert {first.process.pid} == {int(one["last_held"]["pid"]) for one in held}
    assert held[0]["last_held"]["node"].startswith("w@")
    assert held[0]["last_held"]["until"] in held[0]["message"]
    assert "proj.work" == held[0]["task_name"]
