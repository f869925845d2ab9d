"""
What is said on the socket of an `up`: one request, then answers, each a line of JSON.

    {"do": "restart", "names": ["prefork"]}
    {"event": "accepted"}
    {"event": "end"}

A request that cannot be read is answered by an error, and nothing else happens.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The socket's name in the folder of sockets.
SOCKET = "up.sock"

#: Longest request, and longest answer. Bytes.
MAX_REQUEST = 64 * 1024
MAX_ANSWER = 1024 * 1024

#: What can be asked for. *watch* answers until the `up` ends.
VERBS = frozenset({"ps", "environ", "restart", "down", "watch"})

#: Longest list of names.
_MOST_NAMES = 1000


class BadRequestError(ValueError):
    """Raised when a request cannot be read; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a command asks for: *do* is one of `VERBS`, *names* are those of children."""

    do: str
    names: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return it as one line."""
        return encode({"do": self.do, "names": list(self.names)})

    @classmethod
    def decode(cls, line: bytes) -> "Request":
        """
        Return the request in *line*.

        Raises:
            BadRequestError: It is none.
        """
        fields = decode(line)
        do, names = fields.get("do"), fields.get("names", [])
        if not isinstance(do, str) or do not in VERBS:
            raise BadRequestError(f"`do` is none of {', '.join(sorted(VERBS))}")
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            raise BadRequestError("`names` is not a list of texts")
        if len(names) > _MOST_NAMES:
            raise BadRequestError(f"`names` has more than {_MOST_NAMES}")
        return cls(do, tuple(names))


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return *fields* as one line."""
    return json.dumps(fields).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """
    Return the JSON object in *line*.

    Raises:
        BadRequestError: It is none.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequestError("it is not JSON") from error
    if not isinstance(fields, dict):
        raise BadRequestError("it is not an object of JSON")
    return fields
