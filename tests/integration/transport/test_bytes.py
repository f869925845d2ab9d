"""No call of a script handles more than a portion of bytes: other clients wait meanwhile."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from task_server.transport.store.scripts import FETCH
from tests.integration.transport.peers import Started

MB = 1 << 20

OWNER = '"node": "n", "pid": 1, "taken": 1.5, "run": "r", "lease": 30}'


def message(number: int, size: int) -> bytes:
    """Return a message of about *size* bytes; its tag is its number."""
    properties = {
        "delivery_tag": f"{number}",
        "delivery_info": {"exchange": "", "routing_key": "q"},
    }
    return json.dumps({"body": "x" * size, "properties": properties}).encode()


def fetched(client: Any, most: int = 64) -> list[int]:
    """Fetch once; return the numbers of the messages that were moved."""
    limits = (most, 1, "1", "me", 10, OWNER, "0", "watch", "token", "bad", "reasons")
    _, problems, fields = FETCH.run(client, ["unacked", "unacked_index", "q"], limits)
    assert [] == problems
    return [int(tag) for tag in fields[1::4]]


def portions(client: Any) -> Iterable[list[int]]:
    """Fetch until nothing is left."""
    while found := fetched(client):
        yield found


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1000, [[*range(12)]]),
        (MB // 4, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        (5 * MB, [[number] for number in range(12)]),
    ],
)
def test_messages_are_handed_over_in_portions(server: Started, size: int, expected: Any) -> None:
    """
    One call moves as many messages as there are, up to about a megabyte; a large one alone.
    """
    client = server.client()
    for number in range(12):
        client.lpush("q", message(number, size))

    assert expected == list(portions(client))
    assert 12 == client.hlen("unacked")
    assert 12 == client.zcard("unacked_index")
