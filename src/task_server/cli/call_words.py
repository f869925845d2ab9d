"""The words of `task-server call`: arguments of a task, and when it runs."""

import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from typing import Any

#: A keyword argument: NAME=VALUE.
_NAMED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)", re.DOTALL)


def value_of(word: str) -> Any:
    """
    Return *word* as JSON if it is that, else as it is.

    NaN and Infinity, which are no JSON, are words.
    """
    try:
        return json.loads(word, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return word


def arguments_of(words: Iterable[str], kwargs: str | None) -> tuple[list[Any], dict[str, Any]]:
    """
    Return the positional and the keyword arguments that *words* and the object *kwargs* give.

    Raises:
        ValueError: When *kwargs* is no JSON object, or a name is given twice.
    """
    positional: list[Any] = []
    named = _object(kwargs)
    for word in words:
        if not word.isprintable() and not _is_text(word):
            raise ValueError(f"{word!r} is not text in UTF-8")
        found = _NAMED.fullmatch(word)
        if found is None:
            positional.append(value_of(word))
        elif found["name"] in named:
            raise ValueError(f"{found['name']} is given twice")
        else:
            named[found["name"]] = value_of(found["value"])
    return positional, named


def moment_of(word: str, zone: tzinfo) -> datetime:
    """
    Return *word*, a time of ISO 8601, with *zone* if it names none.

    Raises:
        ValueError: When it is no such time.
    """
    try:
        moment = datetime.fromisoformat(word)
    except ValueError:
        raise ValueError(
            f"{word!r} is no time, such as 2026-12-24T18:00 or …T18:00+01:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def expiry_of(word: str, zone: tzinfo) -> float | datetime:
    """
    Return *word* as seconds, or as `moment_of` does.

    Raises:
        ValueError: When it is neither.
    """
    try:
        seconds = float(word)
        timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return moment_of(word, zone)
    if seconds <= 0:
        raise ValueError(f"{word} is not above 0")
    return seconds


def _object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    found = value_of(text)
    if not isinstance(found, dict):
        raise ValueError(f"--kwargs {text!r} is no JSON object, such as '{{\"retries\": 3}}'")
    return found


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(word: str) -> Any:
    raise ValueError(word)
