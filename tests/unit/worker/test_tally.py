"""The memory in which a process adds up what it has finished."""

import os
from collections import Counter
from types import SimpleNamespace
from typing import Any

from task_server.transport.store.statistics import ENDS
from task_server.worker.status.queue_names import STRANGE, QueueNames
from task_server.worker.status.statistics import MOST, Statistics
from task_server.worker.status.tally import NAME, ROWS, Tally


def taken(tally: Tally) -> dict[Any, dict[str, int]]:
    """Return what is new in *tally*."""
    return dict(tally.changes())


def test_only_what_is_new_is_returned() -> None:
    """
    By name, without zeros; times are microseconds.
    """
    tally = Tally.own()
    tally.add(("t", "q"), "succeeded", 0.5, 2.0)
    first = taken(tally)
    tally.add(("t", "q"), "failed", 0.5, None)

    numbers = {"succeeded": 1, "run": 500_000, "r7": 1, "waited": 1, "wait": 2_000_000, "w9": 1}
    assert {("t", "q"): numbers} == first
    assert {("t", "q"): {"failed": 1, "run": 500_000, "r7": 1}} == taken(tally)
    assert {} == taken(tally)


def test_what_a_child_adds_outlives_it() -> None:
    """
    The child that was forked later writes, and this process reads, however the child ended.
    """
    tally = Tally.shared()
    child = os.fork()
    if not child:
        tally.add(("t", "q"), "succeeded", 0.1, None)
        os._exit(9)
    os.waitpid(child, 0)

    assert 1 == taken(tally)["t", "q"]["succeeded"]


def test_a_flood_of_names_does_not_fit() -> None:
    """
    What does not is added to a row without a name: the block does not grow, nor what is remembered.
    """
    tally = Tally.own()
    for number in range(3 * ROWS):
        tally.add((f"task {number}", "q"), "succeeded", 0.1, None)
    tally.add(("x" * NAME, "q"), "succeeded", 0.1, None)
    found = taken(tally)

    assert len(found) == ROWS
    assert 3 * ROWS + 1 == sum(row["succeeded"] for row in found.values())
    assert 2 * ROWS + 2 == found["", ""]["succeeded"]


def test_names_of_any_characters() -> None:
    """
    They come back as they were.
    """
    tally = Tally.own()
    rows = [('ä\n"\\', "q\0"), ("", ""), ("t", "\ud800")]
    for row in rows:
        tally.add(row, "failed", None, None)
    found = taken(tally)

    assert set(rows[:2]) <= set(found)
    assert 3 == sum(row["failed"] for row in found.values())


class Source:
    """What a worker's processes have finished, as `Finished` returns it."""

    def __init__(self) -> None:
        self.new: list[Any] = []

    def changes(self) -> list[Any]:
        """Return what is new."""
        new, self.new = self.new, []
        return new


def test_a_batch_comes_again_until_it_is_confirmed() -> None:
    """
    With its number and its rows; what is finished meanwhile is in the next.
    """
    source = Source()
    statistics = Statistics(source)
    source.new = [(("t", "q"), {"succeeded": 1}), (("t", "q"), {"succeeded": 2})]
    statistics.collect(["q"])
    first = statistics.next()
    source.new = [(("t", "q"), {"failed": 1}), (("t", "forged"), {"failed": 1})]
    statistics.collect(["q"])

    assert first is statistics.next()
    assert {("t", "q"): Counter(succeeded=3)} == first.rows
    statistics.confirm()
    second = statistics.next()
    assert (1, 2) == (first.number, second.number)
    assert {("t", "q"), ("t", "")} == set(second.rows)
    statistics.confirm()
    assert statistics.next() is None
    assert {**dict.fromkeys(ENDS, 0), "succeeded": 3, "failed": 2} == statistics.ends


def test_a_batch_has_so_many_rows_at_most() -> None:
    """
    Others come after it.
    """
    source = Source()
    statistics = Statistics(source)
    source.new = [((f"t{number}", "q"), {"succeeded": 1}) for number in range(MOST + 1)]
    statistics.collect(["q"])
    sizes = []
    while (batch := statistics.next()) is not None:
        sizes.append(len(batch.rows))
        statistics.confirm()

    assert [MOST, 1] == sizes


def test_the_queue_of_a_message() -> None:
    """
    By its routing key, or by what the exchange is bound to; anyone can write others.
    """
    bound = {
        "celery": SimpleNamespace(exchange=SimpleNamespace(name="celery"), routing_key="celery"),
        "a": SimpleNamespace(exchange=SimpleNamespace(name="news"), routing_key="news.a"),
        "b": SimpleNamespace(exchange=SimpleNamespace(name="news"), routing_key="news.b"),
        "odd": SimpleNamespace(exchange=None, routing_key=None),
    }
    app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=bound)))
    names = QueueNames()

    def of(exchange: Any, key: Any) -> str:
        return names.of({"exchange": exchange, "routing_key": key}, app)

    assert "celery" == of("", "celery") == of(None, "celery") == of("celery", "other")
    assert ("a", "b", "odd") == (of("news", "news.a"), of("news", "news.b"), of("", "odd"))
    assert ("", "") == (of(["x"], "q"), of("", {}))
    assert "" == names.of(None, app)
    assert STRANGE + 1 == len({of("", f"forged {number}") for number in range(1000)})
