"""A child that fetches for itself, where it and the main process act at once, and the engine."""

import base64
import json
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from task_server.transport.store.keys import Keys
from task_server.worker.direct import fetch as fetch_module
from task_server.worker.direct.engine import Engine
from task_server.worker.direct.fetch import Fetch, Lost
from task_server.worker.direct.loop import HANDED, Loop
from task_server.worker.direct.notice import Notice, Terms
from task_server.worker.direct.reasons import reasons
from task_server.worker.direct.slot import META, Fetched, Slot, State

OPEN = Terms(open=True, queues=("celery",), node="w@h", pid=1)

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
    app.task(name="child.read", acks_late=True, shared=False)(read)
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
            "headers": {"task": "child.read", "id": "id"},
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
