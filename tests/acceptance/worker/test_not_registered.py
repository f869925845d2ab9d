"""A task that no code of a worker registers waits for one whose code does."""

import json
from collections.abc import Callable

import pytest
from celery import Celery

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import EITHER, POOLS, Worker

#: As short as may be: a worker looks for what it registers six times in a lease.
LEASE = 5


@pytest.mark.parametrize("transport", ["atomic"], indirect=True)
@pytest.mark.parametrize("pool", POOLS)
def test_it_waits_and_runs_once(
    pool: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    It is a dead letter and no failure, its result is PENDING, and the log names it once; a worker
    of the next release runs it.
    """
    backend = {"CELERY_RESULT_BACKEND": broker.url}
    old = start(pool, environ=backend, lease_seconds=LEASE)
    with Celery("proj", broker=broker.url, backend=broker.url) as client:
        results = [client.signature("proj.more", (number,)).apply_async() for number in range(3)]
        send("work", 9)
        until(lambda: broker.client.hlen("unacked.dead") == 3)
        until(lambda: old.ends() == {9: 1})
        records = [json.loads(text) for text in broker.client.hvals("unacked.dead")]

        assert ["PENDING"] * 3 == [one.state for one in results]
        assert {"not registered"} == {record["reason"] for record in records}
        assert {one.id for one in results} == {record["id"] for record in records}
        assert 1 == old.output().count("this worker does not register the task proj.more")
        until(lambda: (broker.queued(), broker.unacked()) == (0, 0))

        more = {**backend, "PROJ_MORE": "1"}
        new = start(pool, name="new", environ=more, lease_seconds=LEASE)
        # The old one may take them once more.
        until(lambda: new.ends() == {0: 1, 1: 1, 2: 1, 9: 1})
        assert [0, 1, 2] == [one.get(timeout=100) for one in results]
        assert 0 == broker.client.hlen("unacked.dead")


@pytest.mark.parametrize("transport", ["kombu"], indirect=True)
@pytest.mark.parametrize("pool", EITHER)
def test_with_kombus_transport_it_fails_as_in_celery(
    pool: str, broker: Redis, start: Callable[..., Worker]
) -> None:
    """
    There is no place for dead letters: the result says NotRegistered.
    """
    start(pool, environ={"CELERY_RESULT_BACKEND": broker.url}).hear("READY=1")
    with Celery("proj", broker=broker.url, backend=broker.url) as client:
        result = client.signature("proj.more", (1,)).apply_async()
        until(lambda: result.state == "FAILURE")

        assert "never registered" in repr(result.result)
