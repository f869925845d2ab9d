"""
What the fetch reads of a message, without decoding the whole: what decoding the whole gives.

Long strings are cut out before the rest is decoded; nothing that is read may change
by it, whatever the message is.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files

import pytest

from tests.acceptance.worker import odd_messages
from tests.integration.transport.peers import Started

MESSAGE = files("task_server.transport.store").joinpath("lua/message.lua").read_text("utf-8")

LIMITS = "LARGE, LONG, MOST_STRINGS = 16384, 1024, 1000"

#: Compares `fields_in` of each message with the fields of its whole decoded text.
COMPARED = """
local function same(one, other)
  if type(one) ~= type(other) then
    return false
  end
  if type(one) ~= 'table' then
    return one == other or (one ~= one and other ~= other)
  end
  for key, value in pairs(one) do
    if not same(value, other[key]) then
      return false
    end
  end
  for key in pairs(other) do
    if one[key] == nil then
      return false
    end
  end
  return true
end

local function whole(text)
  if text:find('\\0', 1, true) then
    return nil, 'it is not JSON: there is a NUL in it'
  end
  local good, message = pcall(cjson.decode, text)
  if not good then
    local failure = message
    local plain = text:gsub('\\\\\\\\', '__')
    plain = plain:gsub('\\\\u[dD][89abAB]%x%x', '?'):gsub('\\\\u[dD][c-fC-F]%x%x', '?')
    good, message = pcall(cjson.decode, plain)
    if not good then
      return nil, 'it is not JSON: ' .. tostring(failure)
    end
  end
  return fields_of(message)
end

local different = {}
local cut = 0
for place, text in ipairs(ARGV) do
  local fields, reason = fields_in(text)
  local expected, why = whole(text)
  if not same(fields or false, expected or false) or reason ~= why then
    different[#different + 1] = place - 1
  end
  cut = cut + (outline(text) ~= text and 1 or 0)
end
return {different, cut}
"""


@pytest.fixture
def differing(server: Started) -> Callable[..., tuple[list[str], int]]:
    """Return the names of the messages that are read differently; and of how many a part is cut."""

    def compare(
        messages: Mapping[str, bytes], limits: str = "LARGE, LONG, MOST_STRINGS = 0, 100, 1000"
    ) -> tuple[list[str], int]:
        assert LIMITS in MESSAGE
        script = MESSAGE.replace(LIMITS, limits) + COMPARED
        names, cut = list(messages), 0
        found: list[str] = []
        for first in range(0, len(names), 200):
            some = names[first : first + 200]
            places, count = server.client().eval(script, 0, *(messages[name] for name in some))
            found.extend(some[place] for place in places)
            cut += count
        return found, cut

    return compare


def test_odd_messages_are_read_as_if_they_were_decoded(differing) -> None:
    """
    Each message by hand gives the same tag, route, ETA and id, or the same reason for none.
    """
    for limits in ("LARGE, LONG, MOST_STRINGS = 0, 100, 1000", LIMITS):
        assert ([], True) == _any_cut(differing(odd_messages.by_hand(), limits))


@pytest.mark.parametrize("seed", range(1, 4))
def test_mutated_messages_are_read_as_if_they_were_decoded(differing, seed: int) -> None:
    """
    So does a good message that was changed at random, small or large.
    """
    small = odd_messages.mutated(400, seed)
    large = dict(_enlarged(small, random.Random(seed)))

    assert ([], True) == _any_cut(differing(small))
    assert ([], True) == _any_cut(differing(large))
    assert ([], True) == _any_cut(differing(large, "LARGE, LONG, MOST_STRINGS = 0, 100, 20"))


def _any_cut(found: tuple[list[str], int]) -> tuple[list[str], bool]:
    return found[0], found[1] > 0


#: What a long string may be made of.
LONG_TEXTS = (
    b"x" * 300,
    b"\xff\xfe\xed\xa0\x80" * 60,
    b"a b\tc\nd" * 50,
    b"}{][,:" * 50,
    b"properties" * 30,
    b'\\"' * 150,
    b"\\\\" * 150,
    b"\\u2603" * 60,
    b"\\ud83d" * 60,
    b"x" * 300 + b"\\",
    b"\\" + b"x" * 300,
    b"x" * 300 + b"\\x",
    b"x" * 300 + b"\0",
    b'\\"properties\\": {\\"delivery_tag\\": 5}' * 9,
    b"a long string",
)


def _enlarged(messages: Mapping[str, bytes], chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Put long strings into *messages*, as values, as keys, and anywhere."""
    for name, message in messages.items():
        data = message
        for _ in range(chance.randint(1, 3)):
            long = b'"' + chance.choice(LONG_TEXTS) + b'"'
            places = [at for at in range(len(data)) if data[at : at + 1] in b'{["']
            if not places:
                continue
            at = chance.choice(places)
            if data[at : at + 1] == b"{":
                pair = chance.choice((b'"origin": ' + long, long + b": 1", b'"id": ' + long))
                data = data[: at + 1] + pair + b", " + data[at + 1 :]
            elif data[at : at + 1] == b"[":
                data = data[: at + 1] + long + b", " + data[at + 1 :]
            else:
                end = data.find(b'"', at + 1)
                data = data[:at] + long + data[end + 1 :]
        yield name, data


@pytest.mark.parametrize("field", ["delivery_tag", "exchange", "routing_key", "task", "eta", "id"])
def test_a_long_field_is_read(differing, field: str) -> None:
    """
    A field that is needed is read whole, however long it is, and wherever.
    """
    properties = {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "q"}}
    headers = {"task": "t", "id": "i", "eta": None}
    for one in (properties, properties["delivery_info"], headers):
        if isinstance(one, dict) and field in one:
            one[field] = "y" * 50_000
    message = {"body": "x" * 50_000, "headers": headers, "properties": properties}
    turned = dict(reversed(message.items()))
    texts = {str(one): json.dumps(one).encode() for one in (message, turned)}

    assert ([], 2) == differing(texts, LIMITS)
