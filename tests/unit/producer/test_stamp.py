"""The time of a send in the headers of its message, whoever wrote them."""

import time
from typing import Any

import pytest

from task_server.producer.stamp import HEADER, SENTRY_HEADER, sent_at, stamped


def test_a_stamp_is_read_again() -> None:
    """
    It is the time of the send.
    """
    before = time.time()

    headers = stamped({"retries": 0, "id": "x"}, 0)

    assert before <= (sent_at({"headers": headers}) or 0) <= time.time()
    assert "x" == headers["id"]


def test_the_stamp_of_an_earlier_try_does_not_count() -> None:
    """
    A stock worker copies unknown headers to the next try, whose `retries` differ.
    """
    assert None is sent_at({"headers": {HEADER: [1000.0, 0], "retries": 1}})
    assert 1000.0 == sent_at({"headers": {HEADER: [1000.0, 1], "retries": 1}})


def test_another_try_has_a_stamp_of_its_own() -> None:
    """
    Whatever was copied.
    """
    headers = stamped({HEADER: [1000.0, 0], SENTRY_HEADER: 1000.0, "retries": 1}, 1)

    assert 1 == headers[HEADER][1]
    assert (sent_at({"headers": headers}) or 0) > 1000


def test_sentrys_fresh_stamp_is_left_alone_and_read() -> None:
    """
    Two headers of one time are one too many.
    """
    now = time.time()

    headers = stamped({SENTRY_HEADER: now}, 0)

    assert {SENTRY_HEADER: now} == headers
    assert now == sent_at({"headers": headers})


def test_headers_that_are_given_are_not_changed() -> None:
    """
    They may be a constant of the project's.
    """
    given: dict[str, Any] = {"mine": 1}

    stamped(given, 0)

    assert {"mine": 1} == given


@pytest.mark.parametrize(
    "message",
    [
        *(None, 1, "x", [], {}, {"headers": None}, {"headers": []}, {"headers": {}}),
        *({"headers": {HEADER: value}} for value in (None, 1, "x", [], [1], ["x", 0], [True, 0])),
        *(
            {"headers": {HEADER: [value, 0]}}
            for value in (-1, 0, float("nan"), float("inf"), 10**400)
        ),
        *({"headers": {SENTRY_HEADER: value}} for value in (None, "x", [], {}, float("nan"))),
        {"headers": {HEADER: [5.0, [1]], "retries": 0}},
    ],
    ids=repr,
)
def test_whatever_a_message_has_there_nothing_is_raised(message: Any) -> None:
    """
    Anybody can write anything there.
    """
    assert None is sent_at(message)
