"""A large message is read as Kombu reads it, whatever it is."""

import base64
import json
import random
from typing import Any

import pytest
from kombu.transport.virtual import Base64
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from task_server.transport.large import LARGE, FastBase64, loaded

BODY = base64.b64encode(b"x" * LARGE).decode()

#: What stands between its braces, by what is odd about it.
MESSAGES: dict[str, str] = {
    "as Kombu writes it": f'"body": "{BODY}", "headers": {{"id": "é"}}',
    "body alone": f'"body": "{BODY}"',
    "two bodies": f'"body": "{BODY}", "body": ""',
    "an escaped body": f'"body": "{BODY}", "b\\u006fdy": "other"',
    "an escaped empty body": f'"body": "{BODY}", "b\\u006fdy": ""',
    "a body that is text": f'"body": "{"ä" * LARGE}", "a": 1',
    "a newline in the body": f'"body": "{BODY}\n{BODY}", "a": 1',
    "an escape in the body": f'"body": "{BODY}\\n{BODY}", "a": 1',
    "a quote in the body": f'"body": "{BODY}\\"{BODY}", "a": 1',
    "no end": f'"body": "{BODY}',
    "an empty body": f'"body": "", "a": "{BODY}"',
    "no base64": f'"body": "{BODY}=", "a": 1',
    "headers that are larger": f'"body": "{BODY}", "a": "{BODY}"',
    "a comma too much": f'"body": "{BODY}",, "a": 1',
    "first something else": f'"a": 1, "body": "{BODY}"',
    "a typed value": f'"body": "{BODY}", "a": {{"__type__": "bytes", "__value__": "x"}}',
    "a value of an unknown type": f'"body": "{BODY}", "a": {{"__type__": "x", "__value__": 1}}',
}


def outcome(read: Any, text: bytes) -> Any:
    """Return what *read* makes of *text*, or the type of what it raises."""
    try:
        return list(read(text).items())
    except (ValueError, AttributeError) as error:
        return type(error) if not isinstance(error, ValueError) else ValueError


@pytest.mark.parametrize("inner", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("end", ["}", "} \n", "}}", ""], ids=repr)
def test_it_says_what_it_says_to_json(inner: str, end: str) -> None:
    """
    Or is refused, as there.
    """
    text = f"{{{inner}{end}".encode()

    assert outcome(loads, text) == outcome(loaded, text)


def test_bytes_that_are_no_text_are_read_as_before() -> None:
    """
    Inside of the body and behind it.
    """
    for text in (
        b'{"body": "' + b"\xff" * LARGE + b'"}',
        b'{"body": "' + BODY.encode() + b'", "a": "\xff"}',
    ):
        assert loads(bytes_to_str(text)) == loaded(text)


def test_bodies_of_any_bytes_are_those_of_kombu() -> None:
    """
    In both directions; and what is no Base64 at all, as Kombu takes it.
    """
    chance = random.Random(5)
    fast, kombus = FastBase64(), Base64()
    for _ in range(500):
        data = chance.randbytes(chance.randrange(100))
        text = kombus.encode(data)  # type: ignore[arg-type]
        assert text == fast.encode(data)
        assert data == fast.decode(text)
        place = chance.randrange(len(text) + 1)
        odd = text[:place] + chance.choice(["\n", " ", "=", "*", "a", ""]) + text[place:]
        assert _decoded(kombus, odd) == _decoded(fast, odd)
    assert fast.encode("é") == kombus.encode("é")


def _decoded(codec: Any, text: str) -> Any:
    try:
        return codec.decode(text)
    except ValueError as error:
        return str(error)


def test_a_message_is_cut_only_where_that_is_seen_to_be_right() -> None:
    """
    A message whose body is JSON itself, as of a producer that is not Kombu, is read whole.
    """
    text = json.dumps({"body": json.dumps([["x" * LARGE], {}, {}]), "headers": {}}).encode()

    assert loads(text) == loaded(text)
