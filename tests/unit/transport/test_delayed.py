"""The names of delayed tasks, and what a member of their set says."""

import json

import pytest

from task_server.transport.store.delayed import Delayed
from task_server.transport.store.keys import Keys


@pytest.mark.parametrize("prefix", ["", "cl:"])
@pytest.mark.parametrize("priority", [0, 3, 9])
@pytest.mark.parametrize("queue", ["celery", "a b", "with\x06\x16no number"])
def test_the_queue_of_a_list(prefix: str, priority: int, queue: str) -> None:
    """
    The queue is read from the name of its list, with any priority and prefix.
    """
    keys = Keys(unacked=f"{prefix}unacked", prefix=prefix)

    assert queue == keys.queue_of(keys.list_of(queue, priority))


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        pytest.param(
            b"1.5:0001 " + json.dumps({"headers": {"task": "t", "id": "i"}}).encode(),
            ("t", "i"),
            id="protocol 2",
        ),
        pytest.param(b"1.5:0001 " + b"[1, 2]", ("", ""), id="a list"),
        pytest.param(b"\xff\xfe", ("", ""), id="bytes"),
        pytest.param(b"", ("", ""), id="nothing"),
        pytest.param(b"1.5:0001 " + b"[" * 100_000, ("", ""), id="deep"),
        pytest.param(b'1 {"headers": 5, "body": 7}', ("", ""), id="no headers"),
    ],
)
def test_a_member_is_read_as_far_as_it_can_be(member: bytes, expected: tuple[str, str]) -> None:
    """
    Anyone can write one; it breaks no list of them.
    """
    found = Delayed.read("q", member, 1.0)

    assert expected == (found.task, found.id)
