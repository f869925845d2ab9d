"""Which entries of the hash of unacked messages are those of parts of groups."""

import base64
import json
from typing import Any

import pytest

from task_server.transport.store.parts import Part, parts_of


def entry(headers: Any, body: Any = None, *, compact: bool = False) -> bytes:
    """Return the entry of a message, as a worker registers it."""
    text = base64.b64encode(json.dumps(body).encode()).decode()
    payload = {"body": text, "headers": headers, "properties": {"body_encoding": "base64"}}
    separators = (",", ":") if compact else None
    return json.dumps([payload, "celery", "celery"], separators=separators).encode()


HEADERS = {"task": "t", "id": "1", "group": "g", "group_index": 3}


@pytest.mark.parametrize("compact", [False, True])
def test_a_part_of_a_group_is_found(*, compact: bool) -> None:
    """
    Of any producer.
    """
    found = entry(HEADERS, [[], {}, {"chord": None}], compact=compact)

    assert [Part("t", "1", "g")] == list(parts_of([None, found]))


def test_a_part_of_protocol_1_is_found() -> None:
    """
    There the body says it.
    """
    body = {"task": "t", "id": "1", "taskset": "g", "args": [], "kwargs": {}}

    assert [Part("t", "1", "g")] == list(parts_of([entry({}, body)]))


@pytest.mark.parametrize(
    "other",
    [
        entry({**HEADERS, "group": None}),
        entry({**HEADERS, "group": ""}),
        entry({**HEADERS, "group": {"group": "x"}}),
        entry({**HEADERS, "id": 7}),
        entry({"task": "t", "id": "1"}, {"group": "g"}),
        entry({}, {"task": "t", "id": "1", "taskset": None}),
        entry([], "text"),
        entry(None, None),
        b"",
        b'{"group": "g"}',
        b'["group", "task"]',
        b'[[{"group": "g"',
        b'[{"group": "\xff"}]',
        b"[" * 100_000 + b'"group": "g"',
    ],
)
def test_anything_else_is_none_and_hinders_none(other: bytes) -> None:
    """
    Messages without a group, of another form, and what is no message.
    """
    assert [Part("t", "1", "g")] == list(parts_of([other, entry(HEADERS)]))
