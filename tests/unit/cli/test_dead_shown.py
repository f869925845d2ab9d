"""What is shown of a dead letter, whatever has written it."""

import base64
import json
import pickle
from typing import Any

import pytest

from task_server.cli.dead_shown import arguments, described, lines
from task_server.transport.store.dead_letters import DeadLetter, record_of

ID = "7c1e8a52-40a5-4a3a-8b9c-0f5f2e6c9d11"
DEATH = {"reason": "no sign of life", "node": "w@host", "pid": 7, "taken": 1.0, "at": 2.0}


def payload(body: Any, encoding: str = "base64", **headers: Any) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    text = base64.b64encode(raw).decode() if encoding == "base64" else raw.decode()
    return {"headers": headers, "properties": {"body_encoding": encoding}, "body": text}


def letter(of: dict[str, Any], **record: Any) -> DeadLetter:
    deaths = [DEATH | {"suspects": 3}, DEATH | {"suspects": 1, "certain": True}]
    text = record_of(of | {"deaths": deaths}, ["celery"], "celery", json.dumps(of), 5.0)
    return DeadLetter.read("tag", json.dumps(json.loads(text) | record).encode())


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (
            payload([[1], {"a": 2}, {}], argsrepr="(1,)", kwargsrepr="{'a': 2}"),
            ("(1,)", "{'a': 2}"),
        ),
        (payload([[1], {"a": 2}, {}]), ([1], {"a": 2})),
        (payload([[1], {"a": 2}, {}], encoding="plain"), ([1], {"a": 2})),
        (payload({"task": "t", "id": "i", "args": [1], "kwargs": {"a": 2}}), ([1], {"a": 2})),
        (payload(pickle.dumps(([1], {}, {}))), (None, None)),
        (payload([[1]]), (None, None)),
        (payload(7), (None, None)),
        ({}, (None, None)),
        ({"headers": [], "properties": [], "body": []}, (None, None)),
    ],
)
def test_arguments_are_read_of_both_protocols(
    of: dict[str, Any], expected: tuple[Any, Any]
) -> None:
    """
    As the sender described them, or from JSON; nothing pickled is loaded.
    """
    assert expected == arguments(of)


def test_all_of_it_is_in_the_json() -> None:
    """
    The message itself, its headers, why it is a dead letter, and its crashes.
    """
    of = payload([[1], {}, {}], id=ID, task="t", origin="gen1@host")
    shown = described(letter(of))

    assert (ID, "t", "crashed", [1], {}) == tuple(
        shown[name] for name in ("id", "task", "reason", "args", "kwargs")
    )
    assert "gen1@host" == shown["headers"]["origin"]
    assert of == json.loads(shown["message"])
    assert [3, 1] == [death["suspects"] for death in shown["deaths"]]


def test_the_list_has_whole_names_and_short_values() -> None:
    """
    An identifier is to be copied, however narrow the terminal is.
    """
    task = "a.very.long.package.of.tasks." * 5
    of = payload([["x" * 5000], {}, {}], id=ID, task=task)
    shown = list(lines(letter(of)))

    assert f"{ID}  {task}" == shown[0]
    assert shown[1].endswith("from the queue celery: crashed")
    assert len(shown[2]) < 250
    assert shown[4].endswith("w@host (pid 7): no sign of life, by this task or one of 2 others")
    assert shown[5].endswith("w@host (pid 7): no sign of life, certainly by this task")


def test_one_is_shown_whole() -> None:
    """
    With all of its arguments, its headers, and where a retry puts it.
    """
    of = payload([["x" * 5000], {}, {}], id=ID, task="t", origin="gen1@host")
    shown = "\n".join(lines(letter(of, reason="not registered"), None))

    assert "x" * 5000 in shown
    assert "header     origin: gen1@host" in shown
    assert "goes to    celery" in shown
    assert "not registered" in shown


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"\\ud800"', "[" * 5000])
def test_what_is_forged_is_shown_as_far_as_it_goes(text: str) -> None:
    """
    Nothing that it may contain reaches the terminal, and nothing raises.
    """
    one = letter({}, text=text, id="\x1b[31mred", queue="\n", reason={"a": "\x07"}, deaths=[{}])

    assert all(line.isprintable() for line in lines(one, None))
    json.dumps(described(one))
