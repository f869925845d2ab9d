"""The entry of an unacked message, and the message as it was before it was taken."""

import json
import re
from typing import Final, NamedTuple

#: What the fetch writes behind a message, which ends as an object. Kombu's JSON
#: has a space after the colon, and escapes quotes inside of a text, so that
#: nothing in a message, nor in a route behind it, is the same.
TAKEN_FROM: Final = b', "taken_from":"'

#: The same of version 0.1, which wrote only the owner.
OWNED: Final = b', "holder":{"'

_OWNER: Final = b', "holder":'
_REST: Final = re.compile(rb"\}[ \t\r\n]*(?=, )")
_decoder: Final = json.JSONDecoder()


class Original(NamedTuple):
    """
    A message as it was before it was fetched.

    Attributes:
        payload: Byte for byte.

        list_key: The complete key of its list; '' if the entry does not say.
    """

    payload: bytes
    list_key: str


def original_of(entry: bytes) -> Original | None:
    """Return the message of *entry*; None if this transport did not write it."""
    start = entry.rfind(TAKEN_FROM)
    key: object = ""
    try:
        if start >= 0:
            key, at = _decode(entry, start + len(TAKEN_FROM) - 1)
            if not entry.startswith(_OWNER, at):
                return None
        else:
            start = at = entry.rfind(OWNED)
            if start < 0:
                return None
        _, at = _decode(entry, at + len(_OWNER))
    except ValueError:
        return None
    rest = _REST.match(entry, at)
    if rest is None or not isinstance(key, str):
        return None
    return Original(entry[1:start] + rest.group(), key)


def _decode(entry: bytes, at: int) -> tuple[object, int]:
    """Return what the JSON at *at* says, and where it ends."""
    # Of a large message only the end: names of a key and a host, and the route.
    text = entry[at:].decode("utf-8", "surrogateescape")
    value, length = _decoder.raw_decode(text)
    return value, at + len(text[:length].encode("utf-8", "surrogateescape"))
