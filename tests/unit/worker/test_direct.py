"""What a child that fetches for itself shares with the main process, and what it runs."""

import base64
import json
from typing import Any

import pytest
from celery import Celery

from task_server.config.model import Config, WorkerConfig
from task_server.launch.engine import central_reasons
from task_server.launch.precedence import worker_spec
from task_server.launch.profiles import Machine
from task_server.worker.direct.judge import Judge
from task_server.worker.direct.notice import MOST, Notice, Terms
from task_server.worker.direct.slot import META, TEXT, Fetched, Slot, State

ONE = Fetched("celery", "tag", "celery", '"holder":{}', b"{}")


def test_a_slot_holds_a_message_from_its_fetch_to_the_end_of_its_acknowledgement() -> None:
    """
    It is held while it is fetched, runs, and has ended; then the child rests.
    """
    slot = Slot()
    assert (State.IDLE, None) == (slot.state, slot.held())
    number = slot.takes(ONE)
    assert (1, "tag", ONE) == (number, slot.held(), slot.message())
    slot.starts()
    slot.ends()
    slot.fetches(7.5)
    assert (True, "tag", 7.5) == (slot.has_ended, slot.held(), slot.fetched_at)
    slot.rests()

    assert slot.held() is None


def test_what_was_handed_over_is_held_until_it_is_received() -> None:
    """
    No moment is without somebody who renews its lease.
    """
    slot = Slot()
    number = slot.takes(ONE)
    slot.rests(keep=True)
    assert "tag" == slot.held()
    slot.receives(number)

    assert slot.held() is None


def test_only_what_runs_is_adopted() -> None:
    """
    A child that hesitates, or has ended, keeps its message; another message is no job.
    """
    slot = Slot()
    number = slot.takes(ONE)
    assert not slot.adopts(number, 5)
    slot.starts()
    assert slot.adopts(number, 6)
    assert (6, 6) == (slot.job, slot.hesitates())
    slot.disowns()
    assert 0 == slot.job
    slot.ends()
    assert not slot.adopts(number, 7)
    slot.takes(ONE)

    assert 0 == slot.job


def test_a_long_text_or_tag_is_not_written_into_a_slot() -> None:
    """
    Neither overwrites anything; the child hands the message over.
    """
    slot = Slot()
    slot.takes(Fetched("celery", "tag", "celery", "", b"x" * (TEXT + 1)))
    assert ("tag", b"", True) == (slot.held(), getattr(slot.message(), "text", None), slot.is_known)
    slot.takes(Fetched("celery", "t" * META, "celery", "", b"{}"))

    assert (None, False) == (slot.message(), slot.is_known)


def test_a_notice_is_read_as_it_was_told() -> None:
    """
    Its revision grows; too much to tell closes the engine, and is said.
    """
    notice = Notice()
    assert (0, Terms()) == notice.read()
    terms = Terms(open=True, queues=("a", "b"), node="w@h", pid=3, revoked=("x",), stamps=True)
    assert notice.tell(terms)
    assert (2, terms) == notice.read()
    notice.want(wanted=True)
    assert notice.wanted
    assert not notice.tell(Terms(open=True, revoked=("x" * MOST,)))

    assert not notice.read()[1].open


def message(body: Any = None, **headers: Any) -> dict[str, Any]:
    text = json.dumps([[1], {}, {}] if body is None else body)
    return {
        "body": base64.b64encode(text.encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "plain", "id": "id", "timelimit": [None, None], **headers},
        "properties": {
            "delivery_tag": "tag",
            "body_encoding": "base64",
            "correlation_id": "id",
            "priority": 3,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
        },
    }


def nothing(*_: Any) -> None:
    """What the tasks do."""


@pytest.fixture(scope="module")
def judge() -> Judge:
    """One with a task that is plain, and some that are not."""
    app = Celery("app", broker="memory://", set_as_current=False)
    for name, options in (
        ("plain", {"acks_late": True}),
        ("early", {"acks_late": False}),
        ("short", {"acks_late": True, "time_limit": 0.5}),
        ("strange", {"acks_late": True, "Strategy": "batches:Strategy"}),
    ):
        app.task(name=name, **options)(nothing)
    app.finalize()
    return Judge(app, "w@h")


def judged(judge: Judge, one: Any) -> Any:
    return judge.call(Fetched("celery", "tag", "celery", "", json.dumps(one).encode()))


def test_a_plain_message_is_run_by_a_child(judge: Judge) -> None:
    """
    With what Celery's request would have said of it.
    """
    call = judged(judge, message())

    assert ("plain", "id", [1]) == (call.name, call.id, call.body[0])
    assert ("w@h", "id", 3) == (
        call.request["hostname"],
        call.request["correlation_id"],
        call.request["delivery_info"]["priority"],
    )


@pytest.mark.parametrize(
    "one",
    [
        *({**message(), key: {}} for key in ("deaths", "last_held")),
        *(message(task=name) for name in ("early", "short", "strange", "nobody", ["plain"], None)),
        *(message(**{name: "2030-01-01T00:00:00"}) for name in ("eta", "expires", "shadow")),
        *(message(timelimit=limit) for limit in (7, [1], [0.5, None], ["1", None], [True, 2])),
        *(
            message(body)
            for body in ({"args": []}, [1], [[], [], {}], [[], {}, 7], 7, [{}, {}, {}])
        ),
        message(id=7),
        message(compression="application/x-gzip"),
        {**message(), "content-type": "application/x-python-serialize"},
        {**message(), "headers": None},
        {**message(), "properties": {**message()["properties"], "delivery_tag": "other"}},
        {**message(), "properties": {**message()["properties"], "body_encoding": "rot13"}},
        {},
        [],
        7,
    ],
    ids=range(31),
)
def test_anything_else_is_handed_over(judge: Judge, one: Any) -> None:
    """
    Whatever it is, it raises nothing: the main process does with it what it always does.
    """
    assert judged(judge, one) is None


def test_text_that_is_no_json_is_handed_over(judge: Judge) -> None:
    """
    As what is not text at all.
    """
    texts = (b"no JSON", b"\xff\xfe", b"", b"[" * 100_000)
    assert [None] * 4 == [judge.call(Fetched("q", "tag", "q", "", text)) for text in texts]


def test_what_was_revoked_or_limited_is_not_run(judge: Judge) -> None:
    """
    By its id, by the name of its task, by its stamps if anything is revoked by those.
    """
    call, stamped = judged(judge, message()), judged(judge, message(stamped_headers=["x"]))
    for terms, expected in (
        (Terms(), [True, True]),
        (Terms(revoked=("id",)), [False, False]),
        (Terms(limited=("plain",)), [False, False]),
        (Terms(stamps=True), [True, False]),
    ):
        judge.use(terms)
        assert expected == [judge.may_run(one) for one in (call, stamped)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"pool": "gevent"}, ["the pool is gevent"]),
        ({"transport": "kombu", "delivery": "at-most-once"}, ["the transport is", "delivery is"]),
        ({"events": True, "extra_args": ("--autoscale=4,1",)}, ["events are", "--autoscale is"]),
    ],
)
def test_settings_that_are_not_served_are_named(
    settings: dict[str, Any], expected: list[str]
) -> None:
    """
    All at once, each by a reason.
    """
    worker = WorkerConfig(name="w", fetch="direct", **settings)
    spec = worker_spec(Config(workers={"w": worker}), "w", Machine(cores=2, memory=None))
    found = list(central_reasons(spec))

    assert [True] * len(expected) == [
        one.startswith(start) for one, start in zip(found, expected, strict=True)
    ]
