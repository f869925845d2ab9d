"""A task that kills its worker becomes a dead letter, which `task-server dead` lists."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import WorkerLostError

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

DEAD_KEY = "unacked.dead"

#: Seconds after which a dead worker's messages come back.
TIMEOUT = "2"

pytestmark = pytest.mark.parametrize("transport", ["atomic"], indirect=True)


def dead(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run `task-server dead` with the configuration of the last worker; return what it says."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "task_server", "dead", *arguments),
            *("--config", str(folder / "task-server.toml")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert code == done.returncode, done.stderr
    return done.stdout + done.stderr


def test_a_task_that_kills_its_child_becomes_a_dead_letter(
    folder: Path, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    It runs twice, the others run once; it can be listed, run again, and dropped.
    """
    # Celery may take five seconds to see that a child died.
    worker = start("prefork", poison_limit=2)
    worker.hear("READY=1")
    send("die", 1, task_id="poison")
    for number in range(2, 6):
        send("work", number, 0.1)
    until(lambda: broker.client.hlen(DEAD_KEY) == 1)
    until(lambda: len(worker.ends()) == 4)
    (shown,) = json.loads(dead(folder, "list", "--json"))
    table = dead(folder, "list", "--queue", "celery")

    assert {1: 2, 2: 1, 3: 1, 4: 1, 5: 1} == worker.starts()
    assert ("poison", "proj.die", "celery") == (shown["id"], shown["task"], shown["queue"])
    assert ["child died"] * 2 == [death["reason"] for death in shown["deaths"]]
    assert {worker.process.pid} == {death["pid"] for death in shown["deaths"]}
    assert shown["deaths"][0]["node"].startswith("w@")
    assert 2 == table.count("child died")
    assert (
        "proj.die[poison] of the queue celery moved to dead letters: 2 workers crashed"
        in worker.output()
    )

    assert "1 task back in the queue" in dead(folder, "retry", "poison")
    until(lambda: worker.starts()[1] == 4)
    until(lambda: broker.client.hlen(DEAD_KEY) == 1)
    assert "No dead letter gone" in dead(folder, "drop", "gone", code=1)
    assert "or --all" in dead(folder, "drop", code=2)
    assert "1 task dropped" in dead(folder, "drop", "--all")
    assert "no dead letters" in dead(folder, "list")
    assert (0, 0) == (broker.queued(), broker.unacked())


def test_the_failure_of_a_dead_lettered_task_reaches_its_caller(
    broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    Its result and those of the tasks chained to it are failures, and the project's handler runs.
    """
    worker = start("prefork", poison_limit=2, environ={"CELERY_RESULT_BACKEND": broker.url})
    worker.hear("READY=1")
    with Celery("proj", broker=broker.url, backend=broker.url) as client:
        perish, answer = (client.signature(f"proj.{name}") for name in ("perish", "answer"))
        last = (perish.clone((1,)) | answer.clone((2,), immutable=True)).apply_async()
        first = last.parent

        with pytest.raises(WorkerLostError, match="2 workers crashed while they ran it"):
            last.get(timeout=60)
        until(lambda: f"failed {first.id} WorkerLostError" in worker.log.read_text())

        assert ("FAILURE", "FAILURE") == (first.state, last.state)
    assert {1: 2} == worker.starts()


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_that_kills_its_worker_becomes_a_dead_letter(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    After as many dead workers as the limit says it does not run again.
    """
    settings = {"environ": {"TASK_SERVER_VISIBILITY_TIMEOUT": TIMEOUT}, "poison_limit": 2}
    send("kill", 1, task_id="poison")
    for _ in range(2):
        worker = start(pool, **settings)
        worker.hear("READY=1")
        worker.wait()
    last = start(pool, **settings)
    last.hear("READY=1")
    until(lambda: broker.client.hlen(DEAD_KEY) == 1)
    send("work", 2)
    until(lambda: last.ends() == {2: 1})
    (record,) = [json.loads(text) for text in broker.client.hvals(DEAD_KEY)]

    assert 2 == last.starts()[1]
    assert "poison" == record["id"]
    assert ["no sign of life"] * 2 == [death["reason"] for death in record["deaths"]]
    until(lambda: (broker.queued(), broker.unacked()) == (0, 0))


def test_with_the_limit_0_a_task_runs_on(
    broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Nothing becomes a dead letter then, as in Celery itself.
    """
    worker = start("prefork", poison_limit=0)
    worker.hear("READY=1")
    send("die", 1)
    until(lambda: worker.starts()[1] >= 5)

    assert 0 == broker.client.hlen(DEAD_KEY)
