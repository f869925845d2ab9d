"""
Who tells of which begun tasks, in a pool of greenlets without a server.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from celery.concurrency.gevent import TaskPool

from task_server.worker import begun


@dataclass
class Told:
    """What was told and what ran, in order."""

    log: list[tuple[str, ...]] = field(default_factory=list)

    def begin(self, *tags: str) -> None:
        self.log.append(("told", *tags))


class Request:
    """What is asked of Celery's request."""

    def __init__(self, qos: Any, tag: str, *, marked: bool = True, late: bool = True) -> None:
        self.message = SimpleNamespace(
            channel=SimpleNamespace(qos=qos),
            delivery_tag=tag,
            _raw={"deaths": []} if marked else {},
        )
        self.task = SimpleNamespace(acks_late=late)
        self.acknowledged = False

    def on_accepted(self, *_: Any) -> None:
        self.acknowledged = not self.task.acks_late


def run_all(qos: Told, requests: list[Request], limit: int) -> None:
    pool: Any = TaskPool(limit)
    pool.start()
    begun.tell_in_greenlets(pool)
    for one in requests:
        pool.apply_async(
            lambda tag: qos.log.append(("run", tag)),
            (one.message.delivery_tag,),
            accept_callback=one.on_accepted,
        )
    pool.stop()


def test_the_first_of_a_row_tells_of_all() -> None:
    """
    Each is told once and before it runs, in one call as many as the pool has places.
    """
    told = Told()
    run_all(told, [Request(told, tag) for tag in "abcde"], limit=3)
    names = [name for kind, *tags in told.log for name in tags if kind == "told"]

    assert ("told", "a", "b", "c") == told.log[0]
    assert list("abcde") == sorted(names)
    for tag in "abcde":
        run = told.log.index(("run", tag))
        assert any(tag in entry[1:] for entry in told.log[:run])


def test_what_is_not_marked_or_acknowledges_early_is_not_told() -> None:
    """
    Of what is no longer unacked when it begins, and of what came for the first time, nothing.
    """
    told = Told()
    requests = [Request(told, "new", marked=False), Request(told, "early", late=False)]
    run_all(told, [*requests, Request(told, "late")], limit=3)

    assert [("told", "late")] == [entry for entry in told.log if entry[0] == "told"]
    assert {"new", "early", "late"} == {entry[1] for entry in told.log if entry[0] == "run"}
