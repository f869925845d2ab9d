"""
Which starts are reported in a pool of greenlets, without a server.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
from celery.concurrency.gevent import TaskPool

from task_server.transport.started.reported import ReportedTasks
from task_server.worker.broker import started
from task_server.worker.broker.quarantine import Quarantine


class Telling:
    """Records what was reported and what ran, in order; a report takes a turn of the loop."""

    def __init__(self) -> None:
        self.reported = ReportedTasks()
        self.log: list[tuple[str, str]] = []
        self.on: set[str] = set()

    def start(self, tag: str, *, marked: bool, on_cpu: bool) -> None:
        self.reported.expect(tag, marked=marked)
        gevent.sleep(0)
        assert on_cpu
        self.reported.add(tag)
        self.log.append(("told", tag))
        self.on = {tag}

    def end(self, tag: str) -> None:
        if tag in self.reported.started:
            self.reported.remove(tag)
            self.on.discard(tag)
            self.log.append(("ended", tag))

    def on_cpu(self, tag: str, *, on: bool) -> None:
        (self.on.add if on else self.on.discard)(tag)


class Request:
    """What is asked of Celery's request."""

    def __init__(self, telling: Any, tag: str, *, marked: bool = True, late: bool = True) -> None:
        self.message = SimpleNamespace(
            channel=SimpleNamespace(qos=SimpleNamespace(reporter=telling)),
            delivery_tag=tag,
            _raw={"deaths": []} if marked else {},
        )
        self.task = SimpleNamespace(acks_late=late)
        self.acknowledged = False

    def on_accepted(self, *_: Any) -> None:
        self.acknowledged = not self.task.acks_late


def run_all(
    telling: Telling,
    requests: list[Request],
    limit: int,
    work: Callable[[str], object] = str,
) -> None:
    pool: Any = TaskPool(limit)
    pool.start()
    started.report_in_greenlets(pool, Quarantine(str))

    def task(tag: str) -> None:
        telling.log.append(("run", tag))
        work(tag)

    for one in requests:
        pool.apply_async(
            task,
            (one.message.delivery_tag,),
            accept_callback=one.on_accepted,
            callback=str,
        )
    pool.stop()


def test_each_is_told_by_itself_before_it_runs_and_after() -> None:
    """
    However long a report takes, nothing runs unreported, and nothing else is reported.
    """
    telling = Telling()
    run_all(telling, [Request(telling, tag) for tag in "abcde"], limit=3)

    for tag in "abcde":
        assert ["told", "run", "ended"] == [kind for kind, name in telling.log if name == tag]
    told = [telling.log.index(("told", tag)) for tag in "abcde"]
    assert [index + 1 for index in told] == [telling.log.index(("run", tag)) for tag in "abcde"]


def test_of_unmarked_ones_only_those_beside_a_marked_one_are_reported() -> None:
    """
    What comes for the first time costs nothing, unless a suspect runs.
    """
    telling = Telling()
    requests = [Request(telling, "new", marked=False), Request(telling, "early", late=False)]
    run_all(telling, requests, limit=3)
    assert set() == {name for kind, name in telling.log if kind == "told"}

    requests = [Request(telling, "late"), Request(telling, "beside", marked=False)]
    run_all(telling, requests, limit=3, work=lambda _: gevent.sleep(0.01))
    assert {"late", "beside"} == {name for kind, name in telling.log if kind == "told"}
    assert (set(), set()) == (telling.reported.started, telling.reported.marked)


def test_the_one_that_has_the_processor_is_known_at_each_moment() -> None:
    """
    A task that waits has it no more, one that goes on has it again, an ended one never.
    """
    telling = Telling()
    seen = []

    def work(tag: str) -> None:
        seen.append((tag, set(telling.on)))
        gevent.sleep(0)
        seen.append((tag, set(telling.on)))

    run_all(telling, [Request(telling, tag) for tag in "abc"], limit=3, work=work)

    assert [({tag}) for tag, _ in seen] == [on for _, on in seen]
    assert set() == telling.on
