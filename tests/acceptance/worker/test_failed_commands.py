"""`task-server failed`: what workers have kept is listed, shown, sent again and dropped."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord

from task_server.monitor import failures
from task_server.transport.store.keys import Keys
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import EITHER, Worker

KEYS = Keys()


def command(folder: Path, *arguments: str, code: int = 0, name: str = "failed") -> str:
    """Run `task-server failed` with the configuration of the worker; return what it says."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "task_server", name, *arguments),
            *("--config", str(folder / "task-server.toml")),
        ],
        env={**os.environ, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert code == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def kept(broker: Redis) -> set[str]:
    return {one.id for one in failures.matching(broker.client, KEYS)}


def states(app: Celery, *results: Any) -> list[str]:
    """Return the states of *results*, which keep the one that they have seen."""
    return [app.AsyncResult(one.id).state for one in results]


@pytest.fixture
def failing(broker: Redis, start: Callable[..., Worker], request: Any) -> Worker:
    """A worker of the project whose tasks fail, with results."""
    environ = {"FAILING_RESULTS": "1", "CELERY_RESULT_BACKEND": broker.url}
    worker = start(getattr(request, "param", "prefork"), app="failing", environ=environ)
    worker.hear("READY=1")
    return worker


@pytest.mark.usefixtures("failing")
def test_the_commands(folder: Path, broker: Redis, app: Celery) -> None:
    """
    Listed by what is asked for, with full ids at 80 columns; shown; dropped after a question.
    """
    long = "0123456789abcdef-" * 3
    app.send_task("failing.failing", ("value", 17), {"token": "mellon"}, task_id=long)
    app.send_task("failing.early", ("escapes",), task_id="other")
    until(lambda: kept(broker) == {long, "other"})
    every = command(folder, "list")
    some = command(folder, "list", "--task", "*.failing", "--error", "ValueError", "--since", "1h")
    status = command(folder, name="status")
    (program,) = json.loads(command(folder, "list", "--argument", "17", "--json"))
    shown = command(folder, "show", long)
    (whole,) = json.loads(command(folder, "show", long, "--json"))

    assert f"{long}  failing.failing\n" in every
    assert "other  failing.early\n" in every
    assert "2 failed tasks are kept: task-server failed list\n" in status
    assert "\x1b" not in every
    assert "other" not in some
    assert long in some
    assert (long, "failing.failing", "ValueError", 1) == (
        *(program["id"], program["task"], program["error"], program["tries"]),
    )
    assert "message" not in program
    assert "mellon" not in every + shown + json.dumps(program)
    assert "in fail" in shown
    assert "goes to    celery" in shown
    assert long == json.loads(whole["message"])["headers"]["id"]

    assert "no failed tasks" in command(folder, "list", "--queue", "another")
    assert "no dead letters" in command(folder, "list", "--crashed")
    assert "no dead letters" in command(folder, "list", name="dead")
    assert "No failed task gone" in command(folder, "show", "gone", code=1)
    assert "No dead letter other" in command(folder, "drop", "other", name="dead", code=1)
    assert "or --all" in command(folder, "drop", code=2)
    assert "or --all" in command(folder, "retry", "other", "--all", code=2)
    assert "is no time" in command(folder, "list", "--since", "yesterday", code=2)
    assert "nobody has answered" in command(folder, "drop", "--all", code=1)
    assert {long, "other"} == kept(broker)
    assert "0 tasks dropped" in command(folder, "drop", "--older-than", "3600", "--yes")
    assert "1 task dropped" in command(folder, "drop", "other")
    assert "1 task dropped" in command(folder, "drop", "--all", "--yes")
    assert set() == kept(broker)
    assert not list(broker.client.zrange("unacked.failed.times", 0, -1))


@pytest.mark.parametrize("failing", EITHER, indirect=True)
@pytest.mark.usefixtures("failing")
def test_a_chain_goes_on_after_a_retry(folder: Path, broker: Redis, app: Celery) -> None:
    """
    Under its id, with what follows; and the same retry once more sends nothing.
    """
    once, add = (app.signature(f"failing.{name}") for name in ("once", "add"))
    last = chain(once.clone(("repaired", 5)), add.clone((3,))).apply_async()
    first = last.parent
    until(lambda: kept(broker) == {first.id})
    until(lambda: states(app, first, last) == ["FAILURE", "FAILURE"])
    again = command(folder, "retry", first.id)
    # Not repaired yet.
    until(lambda: broker.client.hlen("unacked") == 0 and kept(broker) == {first.id})
    broker.client.set("repaired", "1")
    repaired = command(folder, "retry", "--task", "failing.once", "--yes")
    until(lambda: states(app, first, last) == ["SUCCESS", "SUCCESS"])

    assert "1 task back in the queue" in again
    assert "1 task back in the queue" in repaired
    assert "No failed task" in command(folder, "retry", first.id, code=1)
    assert (5, 8) == (app.AsyncResult(first.id).result, app.AsyncResult(last.id).result)
    assert (0, 0) == (broker.queued(), broker.unacked())


def test_a_retry_waits_while_its_queue_is_paused(
    folder: Path, broker: Redis, app: Celery, failing: Worker
) -> None:
    """
    In the queue, where nobody takes it; after `resume` it runs, and its chain goes on.
    """
    once, add = (app.signature(f"failing.{name}") for name in ("once", "add"))
    last = chain(once.clone(("repaired", 5)), add.clone((3,))).apply_async()
    until(lambda: kept(broker) == {last.parent.id})
    command(folder, "celery", name="pause")
    broker.client.set("repaired", "1")
    again = command(folder, "retry", last.parent.id)
    waiting = broker.queued()
    until(lambda: "paused" in failing.verdict().reason, "the worker's word")
    still = broker.queued()
    command(folder, "celery", name="resume")
    until(lambda: states(app, last) == ["SUCCESS"])

    assert "1 task back in the queue" in again
    assert (1, 1) == (waiting, still)
    assert 8 == app.AsyncResult(last.id).result


@pytest.mark.usefixtures("failing")
def test_a_part_of_a_chord_runs_again_and_its_body_does_not(
    folder: Path, broker: Redis, app: Celery
) -> None:
    """
    Its chord has failed with it; the command says so.
    """
    once, add, total = (app.signature(f"failing.{name}") for name in ("once", "add", "total"))
    body = chord([once.clone(("repaired", 5)), add.clone((1, 2))])(total)
    until(lambda: body.state == "FAILURE")
    until(lambda: len(kept(broker)) == 1)
    (part,) = kept(broker)
    broker.client.set("repaired", "1")
    said = command(folder, "retry", part)
    until(lambda: app.AsyncResult(part).state == "SUCCESS")

    assert "part of a chord that has failed" in said
    assert "FAILURE" == body.state
    # What counts the part again is gone by itself.
    left = list(broker.client.scan_iter("celery-taskset-meta-*"))
    assert all(broker.client.ttl(key) > 0 for key in left)
