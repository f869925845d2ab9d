"""Moments in which a child that fetches for itself, and the main process, act at once."""

from types import SimpleNamespace
from typing import Any, Self

import pytest
from billiard.pool import READY

from task_server.worker.direct.children import Children
from task_server.worker.direct.pool import Pool
from task_server.worker.direct.slot import Fetched, Slot

ONE = Fetched("celery", "tag", "celery", '"holder":{}', b"{}")


class Words:
    """The words of a slot; *meanwhile* is done once, when the main process has adopted."""

    def __init__(self, slot: Slot, meanwhile: Any) -> None:
        self._words, self._meanwhile = slot._words, meanwhile

    def __getitem__(self, place: int) -> int:
        return self._words[place]

    def __setitem__(self, place: int, value: int) -> None:
        self._words[place] = value
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        if place == 3:
            meanwhile()
        else:
            self._meanwhile = meanwhile


class Job:
    """A job of the pool."""

    def __init__(self, cache: dict[int, Any], number: int) -> None:
        self._cache, self._job, self._callback = cache, number, None
        cache[number] = self

    def ready(self) -> bool:
        return False

    def discard(self) -> None:
        self._cache.pop(self._job, None)


class Main:
    """The main process, with one child: what it does with jobs is only written down."""

    def __init__(self) -> None:
        self.process = SimpleNamespace(slot=Slot(), inqW_fd=9, pid=7)
        self.said: list[Any] = []
        self.started: list[Fetched] = []
        self.fails = False
        self.cache: dict[int, Any] = {}
        self.released = 0
        handler = SimpleNamespace(on_state_change=self.said.append)
        pool = SimpleNamespace(
            _pool=[self.process], _cache=self.cache, _result_handler=handler, _putlock=self
        )
        self.children = Children(pool, lambda: True, lambda _: None, lambda: None)
        self.channel: Any = SimpleNamespace(unacked=SimpleNamespace(prefetched=[]))
        self.children.adoption = self  # type: ignore[assignment]

    @property
    def slot(self) -> Slot:
        return self.process.slot

    def new_job(self) -> Any:
        return Job(self.cache, len(self.started) + 1)

    def start(self, job: Any, one: Fetched, *_: Any) -> None:
        if self.fails:
            raise ValueError(f"no message of a task: {job}")
        self.started.append(one)

    def release(self) -> None:
        self.released += 1

    def runs(self) -> Self:
        self.slot.takes(ONE)
        self.slot.starts()
        return self


def test_a_child_that_has_seen_its_job_and_rests_is_adopted() -> None:
    """
    It has given its result to the job: without that nobody would acknowledge the message.
    """
    main = Main().runs()

    def meanwhile() -> None:
        assert main.slot.reports()
        main.slot.rests()

    main.slot._words = Words(main.slot, meanwhile)
    main.children.adopt()

    assert ([ONE], [1]) == (main.started, list(main.cache))


def test_a_job_that_its_child_has_settled_unseen_ends_though_others_were_settled_since() -> None:
    """
    Otherwise it would be active for ever, and its time limit would end another task.
    """
    main = Main().runs()
    main.children.adopt()
    for _ in range(2):
        main.slot.ends()
        main.slot.fetches(1.0)
        main.slot.takes(ONE)
        main.slot.starts()
    main.children.adopt()

    assert [(READY, 1, True, 9)] == [(word, one[0], one[2][0], one[3]) for word, one in main.said]


def test_what_cannot_be_watched_its_child_ends() -> None:
    """
    It has no job, and is tried once.
    """
    main = Main().runs()
    main.fails = True
    main.children.adopt()
    main.children.adopt()

    assert (0, {}) == (main.slot.job, main.cache)


def test_a_task_that_must_not_run_frees_the_slot_of_its_job() -> None:
    """
    A child that was adopted just then hands it over: it is received, once.
    """
    main = Main().runs()
    main.children.adopt()
    main.children.on_handed(main.process, main.slot.number, ONE)

    assert ({}, 1, ["tag"]) == (
        main.cache,
        main.released,
        [one.delivery_tag for one in main.channel.unacked.prefetched],
    )


@pytest.mark.parametrize("state", ["connected", "lost", "closed"])
def test_what_a_child_hands_over_in_a_drain_is_requeued_at_once(state: str) -> None:
    """
    Though it was fetched a moment ago; if the server does not answer, by the next connection.
    """
    main, requeued, waiting = Main().runs(), list[str](), list[tuple[str, float]]()

    def one(tag: str, *, unchanged: bool) -> None:
        assert unchanged
        if state == "lost":
            raise ConnectionError
        requeued.append(tag)

    main.channel.unacked = SimpleNamespace(
        link=SimpleNamespace(is_connected=lambda: state != "closed"),
        restore=SimpleNamespace(one=one),
        pending=SimpleNamespace(restores=waiting),
        store=SimpleNamespace(errors=(ConnectionError,)),
    )
    main.children._can_receive = lambda: False
    main.children.on_handed(main.process, main.slot.number, ONE)

    assert ("connected" == state) == (requeued == ["tag"])
    assert ("connected" != state) == ([tag for tag, _ in waiting] == ["tag"])


def test_a_child_that_may_fetch_is_not_ended_for_a_smaller_pool() -> None:
    """
    It has ended its job, and has not yet said that it is free.
    """
    pool = Pool.__new__(Pool)
    pool._cache, pool._busy_workers = {}, {9}
    assert pool._worker_active(SimpleNamespace(inqW_fd=9, pid=7, slot=Slot()))

    assert not pool._worker_active(SimpleNamespace(inqW_fd=8, pid=8, slot=Slot()))
