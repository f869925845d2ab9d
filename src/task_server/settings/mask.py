"""Values of settings, copied and with the secrets taken out."""

import re
from typing import Any

MASK = "********"

_SECRET_NAME = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|KEY|CREDENTIAL|DSN", re.IGNORECASE)

# The same, and those below, in lower case: most text has none, and the patterns are slow.
_SECRET_WORDS = ("secret", "password", "passwd", "token", "key", "credential", "dsn")
_PAIR_WORDS = ("secret", "password", "passwd", "token", "key")

# The user may be empty (redis://:secret@host). A password may contain any character
# but white space when somebody forgot to quote it, so that all up to the last
# @ goes: rather too much than too little.
_IN_URL = re.compile(r"(://[^/\s:@]*:)\S+(@)")

# libpq's "host=db password=secret", and the query of a URL.
_IN_PAIRS = re.compile(r"((?:secret|password|passwd|token|key)\s*=\s*)[^\s&]+", re.IGNORECASE)

# A key of a dictionary, as `repr` writes it; and values that reveal no secret.
_KEY = re.compile(r"""(['"])([^'"\\]{1,200})\1:\s*""")
_NO_SECRETS = frozenset(("None", "True", "False", "''", '""'))

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
            result = without_passwords(text) if hide else text
    return result


def without_passwords(text: str) -> str:
    """Return *text* without the passwords of URLs, and of pairs such as `password=...`."""
    if "://" in text:
        text = _IN_URL.sub(rf"\g<1>{MASK}\g<2>", text)
    if "=" in text and _has(text, _PAIR_WORDS):
        text = _IN_PAIRS.sub(rf"\g<1>{MASK}", text)
    return text


def may_have_passwords(text: str) -> bool:
    """Whether `without_passwords` may change *text*, or a part of it."""
    return "://" in text or ("=" in text and _has(text, _PAIR_WORDS))


def _has(text: str, words: tuple[str, ...]) -> bool:
    # As the patterns ignore case: a long s is one of their letters too.
    folded = text.casefold()
    return any(word in folded for word in words)


def masked_repr(text: str) -> str:
    """
    Return *text*, the `repr` of arguments or the beginning of one, without secrets.

    As `masked`, whose data nobody has to have; time and memory are those of *text*, which
    should be short.
    """
    if not _has(text, _SECRET_WORDS):
        return without_passwords(text)
    parts, start = [], 0
    for found in _KEY.finditer(text):
        if found.start() < start or not is_secret(found[2]):
            continue
        end = _end_of_value(text, found.end())
        if text[found.end() : end] not in _NO_SECRETS:
            parts += [text[start : found.end()], f"'{MASK}'"]
            start = end
    parts.append(text[start:])
    return without_passwords("".join(parts))


def _end_of_value(text: str, start: int) -> int:
    """Return where the value at *start* ends: at a comma or bracket that is not in it."""
    depth, quote, skip = 0, "", False
    for at in range(start, len(text)):
        one = text[at]
        if skip:
            skip = False
        elif quote:
            skip = one == "\\"
            quote = "" if one == quote else quote
        elif one in "'\"":
            quote = one
        elif one in "([{":
            depth += 1
        elif one in ")]}" or (one == "," and not depth):
            if not depth:
                return at
            depth -= 1
    return len(text)
