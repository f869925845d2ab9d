"""Values of settings, copied and with the secrets taken out."""

import re
from typing import Any

MASK = "********"

_SECRET_NAME = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|KEY|CREDENTIAL|DSN", re.IGNORECASE)

# The user may be empty (redis://:secret@host). A password may contain any character
# but white space when somebody forgot to quote it, so that all up to the last
# @ goes: rather too much than too little.
_IN_URL = re.compile(r"(://[^/\s:@]*:)\S+(@)")

# libpq's "host=db password=secret", and the query of a URL.
_IN_PAIRS = re.compile(r"((?:secret|password|passwd|token|key)\s*=\s*)[^\s&]+", re.IGNORECASE)

# Deeper than any setting; a value that contains itself ends here.
_DEPTH = 20


def is_secret(name: str) -> bool:
    """Return whether a setting or key of that name seems to be a secret."""
    return _SECRET_NAME.search(name) is not None


def masked(value: Any, name: str = "") -> Any:
    """
    Return a copy of *value* without secrets.

    What has a secret-looking name (*name* itself, or a key in a nested dict)
    is replaced as a whole, except None, booleans and empty strings, which reveal
    no secret; of a URL, the password is replaced. Objects other than plain
    data become their `repr`.
    """
    return snapshot(value, name, hide=True)


def snapshot(value: Any, name: str = "", *, hide: bool = False, depth: int = 0) -> Any:
    """
    Return *value* as plain data that no later change of it can reach.

    Secrets are kept unless *hide*; use that only to compare.
    """
    if value is None or isinstance(value, bool) or (isinstance(value, str) and not value):
        return value
    if hide and is_secret(name):
        return MASK
    result: Any
    match value:
        case int() | float():
            result = value
        case dict() if depth < _DEPTH:
            result = {
                key: snapshot(item, str(key), hide=hide, depth=depth + 1)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset() if depth < _DEPTH:
            copies = [snapshot(item, hide=hide, depth=depth + 1) for item in value]
            kind = next(kind for kind in (list, tuple, frozenset, set) if isinstance(value, kind))
            result = frozenset(copies) if kind is set else kind(copies)
        case _:
            text = str(value) if isinstance(value, str) else repr(value)
            result = _without_passwords(text) if hide else text
    return result


def _without_passwords(text: str) -> str:
    return _IN_PAIRS.sub(rf"\g<1>{MASK}", _IN_URL.sub(rf"\g<1>{MASK}\g<2>", text))
