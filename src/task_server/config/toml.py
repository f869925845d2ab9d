"""Values of settings as TOML, for files that are written."""

import json
from collections.abc import Iterable
from typing import Any


def toml(value: Any) -> str:
    """Return *value* as TOML: a text, a truth value, a finite number, or a tuple of these."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, tuple):
        return listed(value)
    # As JSON has it, which TOML reads likewise.
    return json.dumps(value)


def listed(values: Iterable[Any]) -> str:
    """Return *values* as an array."""
    return f"[{', '.join(map(toml, values))}]"


def quoted(text: str) -> str:
    """Return *text* as a basic string, printable whatever is in it; half a surrogate is a '?'."""
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"{}"'.format(
        "".join(
            escapes.get(one, one) if one.isprintable() else f"\\U{ord(one):08X}"
            for one in text.encode("utf-8", "replace").decode()
        )
    )
