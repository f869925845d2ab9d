"""What an autoscaler is told, and when it is told nothing."""

import pytest

from task_server.metrics.demand import (
    IncompleteError,
    UnknownError,
    of_queue,
    of_workers,
    takers,
)
from task_server.monitor.model import Age
from task_server.transport.store.stops import Stop
from tests.support.snapshots import message, queue, snapshot, worker

WORKERS = {"prefork": ("celery", "mail"), "gevent": ("io_bound",), "idle": ("nothing",)}


def test_a_queue() -> None:
    """
    Every number that the issue of scaling needs, and their sum.
    """
    one = queue(in_flight=4, delayed=9, due_soon=3, consumers=("prefork@a",))

    assert {
        "queue": "celery",
        "load": 9,
        "waiting": 2,
        "in_flight": 4,
        "due_within_a_minute": 3,
        "delayed": 9,
        "oldest_seconds": 61.0,
        "oldest_is_exact": True,
        "workers": 1,
        "paused": [],
        "at": 1_800_000_000.0,
    } == of_queue(snapshot(one), "celery")


def test_a_kind_of_worker_is_the_sum_of_its_queues() -> None:
    """
    A worker that takes from two of them is one; the oldest of all is the oldest.
    """
    both = ("prefork@a", "prefork@b")
    found = snapshot(
        queue("celery", consumers=both, in_flight=1),
        queue("mail", consumers=both[:1], oldest=Age(seconds=99.0, is_exact=False)),
        queue("io_bound", in_flight=70),
    )
    one = of_workers(found, "prefork", WORKERS)

    assert (5, 4, 1, 2) == (one["load"], one["waiting"], one["in_flight"], one["workers"])
    assert (99.0, False) == (one["oldest_seconds"], one["oldest_is_exact"])
    assert ["celery", "mail"] == one["queues"]


def test_a_paused_queue_needs_no_more_workers() -> None:
    """
    What is in flight still counts: a worker that runs something must stay.
    """
    stop = Stop(at=1.0, who="me")
    found = snapshot(queue("celery", in_flight=4, due_soon=3, paused=stop), queue("mail"))
    one = of_workers(found, "prefork", WORKERS)

    assert (6, 4, ["celery"]) == (one["load"], one["waiting"], one["paused"])
    assert 4 == of_queue(found, "celery")["load"]


def test_a_worker_that_drains_takes_nothing() -> None:
    """
    Nor does one that is drained by hand; one that came back as the same node does.
    """
    nodes = ("drained@a", "draining@a", "back@a", "ready@a")
    workers = (
        worker("drained@a", drained=Stop(at=1.0, who="me")),
        worker("draining@a", state="draining"),
        worker("back@a", run="old", state="draining"),
        worker("back@a", run="new"),
        worker("ready@a"),
    )
    found = snapshot(queue(consumers=nodes), workers=workers)

    assert {"back@a", "ready@a"} == takers(found, found.queues)
    assert 2 == of_queue(found, "celery")["workers"]


def test_a_worker_whose_queue_nobody_has_used_has_nothing_to_do() -> None:
    """
    0 is true then.
    """
    assert 0 == of_workers(snapshot(), "idle", WORKERS)["load"]


@pytest.mark.parametrize("name", ["celry", "gevnt"])
def test_an_unknown_name_comes_with_those_that_are_alike(name: str) -> None:
    """
    Of queues, and of kinds of worker.
    """
    with pytest.raises(UnknownError) as of_a_queue:
        of_queue(snapshot(queue("celery"), queue("gevent")), name)
    with pytest.raises(UnknownError) as of_a_worker:
        of_workers(snapshot(), name, {**WORKERS, "celery": ()})

    (near,) = of_a_queue.value.near
    assert [near] == of_a_worker.value.near
    assert {"celry": "celery", "gevnt": "gevent"}[name] == near


def test_a_name_of_any_size_is_compared_in_part() -> None:
    """
    Names that only somebody hostile would give cost no time.
    """
    with pytest.raises(UnknownError) as raised:
        of_queue(snapshot(*(queue(f"{number}" * 150) for number in range(999))), "9" * 60_000)

    assert len(raised.value.near) <= 3


@pytest.mark.parametrize(
    "found",
    [
        snapshot(queue(), troubles={"messages in flight": "no permission"}),
        snapshot(troubles={"queues": "no permission"}),
        snapshot(queue(trouble="is no list")),
    ],
    ids=["in flight", "queues", "one queue"],
)
def test_numbers_that_would_not_be_true_are_not_given(found) -> None:
    """
    An autoscaler that is told 0 stops what runs.
    """
    with pytest.raises(IncompleteError):
        of_queue(found, "celery")
    with pytest.raises(IncompleteError):
        of_workers(found, "prefork", WORKERS)


def test_more_in_flight_than_are_described_is_enough_to_know() -> None:
    """
    The number is a lower bound then, and far from 0.
    """
    busy = worker(in_flight=(message(),))
    found = snapshot(
        queue(in_flight=50_000), workers=(busy,), troubles={"messages in flight": "only 50000"}
    )

    assert 50_002 == of_queue(found, "celery")["load"]


def test_workers_that_cannot_be_read_are_not_counted_as_none() -> None:
    """
    The load is known all the same.
    """
    one = of_queue(snapshot(queue(), troubles={"workers": "no permission"}), "celery")

    assert (2, None) == (one["load"], one["workers"])
