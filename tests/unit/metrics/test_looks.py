"""Looks at a broker that is slow, hangs, fails and comes back."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from task_server.metrics.looks import Look, Looks
from task_server.monitor.model import Snapshot
from tests.support.snapshots import queue, snapshot
from tests.support.wait import PATIENCE, until


class Broker:
    """Takes a look as soon as it is let; *error* is raised instead."""

    def __init__(self) -> None:
        self.lets = threading.Semaphore(0)
        self.count = 0
        self.error: Exception | None = None

    def take(self) -> Snapshot:
        self.count += 1
        assert self.lets.acquire(timeout=PATIENCE)
        if self.error is not None:
            raise self.error
        return snapshot(queue())


@pytest.fixture
def broker() -> Broker:
    return Broker()


def looks(broker: Broker, fresh: float) -> Looks:
    return Looks(broker.take, str, fresh)


def test_all_who_ask_at_once_share_one_look(broker: Broker) -> None:
    """
    And whoever asks within a second after it.
    """
    shared = looks(broker, PATIENCE * 10)
    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(shared.get, PATIENCE) for _ in range(20)]
        until(lambda: broker.count == 1)
        broker.lets.release()
        found = {id(one.result()) for one in asked}
    again = shared.get(0)

    assert 1 == len(found) == broker.count
    assert {id(again)} == found
    assert again.snapshot is not None


def test_one_that_is_old_is_not_shown_again(broker: Broker) -> None:
    """
    The next who asks waits for another one.
    """
    shared = looks(broker, 0.0)
    for count in (1, 2):
        broker.lets.release()
        assert shared.get(PATIENCE).snapshot is not None
        assert count == broker.count


def test_a_broker_that_hangs_is_given_up_and_what_was_known_is_not_shown(broker: Broker) -> None:
    """
    Nobody waits for longer than he asked to; when it answers again, so do the looks.
    """
    shared = looks(broker, 0.0)
    broker.lets.release()
    assert shared.get(PATIENCE).snapshot is not None
    hung = [shared.get(0.05) for _ in range(3)]
    broker.lets.release(2)
    until(lambda: shared.get(PATIENCE).snapshot is not None)

    assert [None] * 3 == [one.snapshot for one in hung]
    assert "within 0.05 s" in hung[0].reason


def test_an_error_is_explained_and_not_kept(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is logged once, and so is that it is over.
    """
    shared = looks(broker, 0.0)

    def asked(error: Exception | None) -> Look:
        broker.error = error
        broker.lets.release()
        return shared.get(PATIENCE)

    failed = [asked(OSError("gone")) for _ in range(3)]
    works = asked(None)

    assert ["gone"] * 3 == [one.reason for one in failed]
    assert works.snapshot is not None
    assert ["metrics: gone", "metrics: Redis answers again"] == [
        one.getMessage() for one in caplog.records
    ]
