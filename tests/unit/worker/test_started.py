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


class Reporter:
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
        self.log.append(("reported", tag))
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

    def __init__(self, reporter: Any, tag: str, *, marked: bool = True, late: bool = True) -> None:
        self.message = SimpleNamespace(
            channel=SimpleNamespace(qos=SimpleNamespace(reporter=reporter)),
            delivery_tag=tag,
            _raw={"deaths": []} if marked else {},
        )
        self.task = SimpleNamespace(acks_late=late)
        self.acknowledged = False

    def on_accepted(self, *_: Any) -> None:
        self.acknowledged = not self.task.acks_late


def run_all(
    reporter: Reporter,
    requests: list[Request],
    limit: int,
    work: Callable[[str], object] = str,
) -> None:
    pool: Any = TaskPool(limit)
    pool.start()
    started.report_in_greenlets(pool, Quarantine(str))

    def task(tag: str) -> None:
        reporter.log.append(("run", tag))
        work(tag)

    for one in requests:
        pool.apply_async(
            task,
            (one.message.delivery_tag,),
            accept_callback=one.on_accepted,
            callback=str,
        )
    pool.stop()


def test_each_is_reported_alone_before_it_runs_and_after() -> None:
    """
    However long a report takes, nothing runs unreported, and nothing else is reported.
    """
    reporter = Reporter()
    run_all(reporter, [Request(reporter, tag) for tag in "abcde"], limit=3)

    for tag in "abcde":
        assert ["reported", "run", "ended"] == [kind for kind, name in reporter.log if name == tag]
    reports = [reporter.log.index(("reported", tag)) for tag in "abcde"]
    assert [index + 1 for index in reports] == [reporter.log.index(("run", tag)) for tag in "abcde"]


def test_of_unmarked_ones_only_those_beside_a_marked_one_are_reported() -> None:
    """
    What comes for the first time costs nothing, unless a suspect runs.
    """
    reporter = Reporter()
    requests = [Request(reporter, "new", marked=False), Request(reporter, "early", late=False)]
    run_all(reporter, requests, limit=3)
    assert set() == {name for kind, name in reporter.log if kind == "reported"}

    requests = [Request(reporter, "late"), Request(reporter, "beside", marked=False)]
    run_all(reporter, requests, limit=3, work=lambda _: gevent.sleep(0.01))
    assert {"late", "beside"} == {name for kind, name in reporter.log if kind == "reported"}
    assert (set(), set()) == (reporter.reported.started, reporter.reported.marked)


def test_the_one_that_has_the_processor_is_known_at_each_moment() -> None:
    """
    A task that waits has it no more, one that goes on has it again, an ended one never.
    """
    reporter = Reporter()
    seen = []

    def work(tag: str) -> None:
        seen.append((tag, set(reporter.on)))
        gevent.sleep(0)
        seen.append((tag, set(reporter.on)))

    run_all(reporter, [Request(reporter, tag) for tag in "abc"], limit=3, work=work)

    assert [({tag}) for tag, _ in seen] == [on for _, on in seen]
    assert set() == reporter.on
