"""Moments in which a child that fetches for itself, and the main process, act at once."""

import base64
import json
import pickle
from types import SimpleNamespace
from typing import Any, Self

import pytest
from billiard.pool import READY
from celery import Celery

from task_server.transport.store.keys import Keys
from task_server.worker.direct import fetch as fetch_module
from task_server.worker.direct.children import Children
from task_server.worker.direct.engine import Engine
from task_server.worker.direct.fetch import Fetch, Lost
from task_server.worker.direct.loop import HANDED, Loop
from task_server.worker.direct.notice import Notice, Terms
from task_server.worker.direct.pool import Pool
from task_server.worker.direct.reasons import reasons
from task_server.worker.direct.slot import META, Fetched, Slot, State

ONE = Fetched("celery", "tag", "celery", '"holder":{}', b"{}")

OPEN = Terms(open=True, queues=("celery",), node="w@h", pid=1)


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


def test_a_child_that_may_fetch_is_not_ended_for_a_smaller_pool() -> None:
    """
    It has ended its job, and has not yet said that it is free.
    """
    pool = Pool.__new__(Pool)
    pool._cache, pool._busy_workers = {}, {9}
    assert pool._worker_active(SimpleNamespace(inqW_fd=9, pid=7, slot=Slot()))

    assert not pool._worker_active(SimpleNamespace(inqW_fd=8, pid=8, slot=Slot()))


# The child

STATES: list[State] = []


class Reads:
    """Pickled, it writes down in which state the child is that reads it."""

    slot: Slot

    def __reduce__(self) -> Any:
        return read, ()


def read() -> int:
    STATES.append(Reads.slot.state)
    return 1


def child(slot: Slot) -> tuple[Loop, list[Any]]:
    app = Celery("app", broker="memory://", set_as_current=False)
    app.conf.accept_content = ["pickle", "json"]
    app.task(name="races.read", acks_late=True, shared=False)(read)
    app.finalize()
    notice, said = Notice(), list[Any]()
    notice.tell(OPEN)
    loop = Loop(app, slot, notice, said.append, pid=7, writes_to=9, limit=None, memory=0)
    loop._look()
    return loop, said


def message(body: bytes, content_type: str, encoding: str) -> bytes:
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-type": content_type,
            "content-encoding": encoding,
            "headers": {"task": "races.read", "id": "id"},
            "properties": {
                "delivery_tag": "tag",
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": "celery"},
            },
        }
    ).encode()


def test_a_child_that_dies_of_reading_a_message_was_running_it() -> None:
    """
    Requeued as if it had not begun, it would kill one child after the other, uncounted.
    """
    slot = Slot()
    loop, said = child(slot)
    Reads.slot = slot
    STATES.clear()
    text = message(pickle.dumps(([], {}, Reads())), "application/x-python-serialize", "binary")

    assert not loop._take(Fetched("celery", "tag", "celery", "", text))
    assert ([State.RUNNING], State.IDLE) == (STATES, slot.state)
    assert [HANDED] == [word for word, _ in said]


def test_what_a_slot_has_no_room_for_is_handed_over() -> None:
    """
    Nobody would renew its lease, so that it would run twice, nor end it at its time limit.
    """
    slot = Slot()
    loop, said = child(slot)
    text = message(b"[[], {}, {}]", "application/json", "utf-8")

    assert not loop._take(Fetched("celery", "tag", "l" * META, "", text))
    assert [HANDED] == [word for word, _ in said]


@pytest.mark.parametrize(("seconds", "expected"), [(1, "tag"), (16, None)])
def test_a_reply_that_was_read_late_is_left_to_the_main_process(
    seconds: int, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The machine was suspended: another worker may have the message by now.
    """
    now, told = [100.0], list[Lost]()
    fetch = Fetch(None, Slot(), told.append)
    fetch._keys, fetch._lease = Keys(), 30.0
    fetch._cycle = SimpleNamespace(
        consume=lambda _: ["celery"], rotate=lambda _: None, update=lambda _: None
    )

    def asked(*_: Any) -> Any:
        now[0] += seconds
        return [b"more", [], [0, b"tag", b"{}", b""], b""]

    monkeypatch.setattr(fetch_module, "clock", lambda: now[0])
    monkeypatch.setattr(fetch, "_asked", asked)
    one = fetch.next(OPEN)

    assert expected == (one and one.tag)
    assert (expected is None) == any('"child"' in lost.marker for lost in told)


# The engine


def test_children_know_what_was_revoked_before_whoever_revoked_it() -> None:
    """
    The answer is sent behind that.
    """
    drain: Any = SimpleNamespace(requested=False)
    engine: Any = Engine(drain, None)  # type: ignore[arg-type]
    revoked: list[str] = []
    engine._notice = Notice()
    engine._controller = SimpleNamespace(
        semaphore=SimpleNamespace(_waiting=()), hostname="w@h", pool=None
    )
    engine._children = SimpleNamespace(pool=SimpleNamespace(outbound_buffer=()), adoption=None)
    engine._children.adopt = lambda: None
    engine._conditions = SimpleNamespace(
        reason=lambda: None,
        signature=lambda: len(revoked),
        terms=lambda node, is_open: Terms(open=is_open, node=node, revoked=tuple(revoked)),
        forget_limits=lambda: None,
    )
    engine.tick()
    engine._adopting(revoked.append)("id")

    assert ("id",) == engine._notice.read()[1].revoked


@pytest.mark.parametrize(
    ("limits", "expected"), [((0.5, None), True), ((None, 0.2), True), ((None, 5), False)]
)
def test_limits_of_all_tasks_that_are_too_short_are_a_reason(
    limits: tuple[Any, Any],
    *,
    expected: bool,
) -> None:
    """
    The main process looks every tenth of a second.
    """
    app = Celery("app", broker="redis://", set_as_current=False)
    spec: Any = SimpleNamespace(
        pool="prefork", transport="atomic", delivery="at-least-once", events=False, extra_args=()
    )
    controller = SimpleNamespace(time_limit=limits[0], soft_time_limit=limits[1], pool=None)

    assert expected == any("time limit below 1 s" in one for one in reasons(app, spec, controller))
