"""
Large messages: next to all of one is its body, which is read at the speed of memory.

Kombu decodes the JSON around it character by character, and Base64 in it as slowly: for
a megabyte, that took the main process of a worker longer than all else.
"""

from binascii import Error as Base64Error
from typing import Any, Final
from uuid import uuid4

from kombu.transport.virtual import Base64
from kombu.utils.encoding import bytes_to_str, str_to_bytes
from kombu.utils.json import loads

try:
    import pybase64
except ImportError:  # pragma: no cover - an environment that was locked before it was needed
    import base64 as pybase64  # type: ignore[no-redef]

#: Smaller ones are read as Kombu does it.
LARGE: Final = 1 << 14

#: How Kombu begins a message.
_START: Final = b'{"body": "'

#: Stands for the body, until the rest is read. No message has it.
_CUT: Final = uuid4().hex.encode()


class FastBase64(Base64):
    """Kombu's codec of bodies, for large ones."""

    def encode(self, s: str | bytes) -> str:
        """Return the Base64 of *s*."""
        return pybase64.b64encode(str_to_bytes(s)).decode("ascii")

    def decode(self, s: str | bytes) -> bytes:
        """Return what *s* is the Base64 of; Kombu ignores characters that are none."""
        try:
            return pybase64.b64decode(str_to_bytes(s), validate=True)
        except (Base64Error, ValueError):
            return Base64.decode(self, s)  # type: ignore[arg-type]


def loaded(text: bytes | str) -> Any:
    """
    Return what the message *text* says, as `json.loads` of all of it does.

    Raises:
        ValueError: It is not JSON.
    """
    if len(text) > LARGE and isinstance(text, bytes) and text.startswith(_START):
        end = text.find(b'"', len(_START))
        body, rest = text[len(_START) : end], text[end:]
        if end > 0 and _is_base64(body):
            message = loads(bytes_to_str(_START + _CUT + rest))
            # A second one, behind it, would be the one that counts.
            if message["body"] == _CUT.decode():
                message["body"] = body.decode("ascii")
                return message
    return loads(bytes_to_str(text))


def _is_base64(body: bytes) -> bool:
    """Whether *body* has neither escapes nor anything that JSON forbids."""
    try:
        pybase64.b64decode(body, validate=True)
    except (Base64Error, ValueError):
        return False
    return True
