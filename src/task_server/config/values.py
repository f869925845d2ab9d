"""
The kinds of value a setting can have: text or TOML in, a checked value out.

Each kind is a callable that returns the value or raises ValueError with a
fact about what it was given; the loader puts the setting's name before it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from reprlib import Repr
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from task_server.config import urls

Parser = Callable[[Any], Any]

#: In the place of queues: every queue of the project, which is known at the worker's start.
ALL_QUEUES = "all"

#: Bounds above every sensible value. The timers of the kernel and of Python end
#: beyond some weeks (a poll) or years (an alarm), with a traceback in the worker.
DAY = 86_400.0
LONGEST = 366 * DAY
MOST = 1_000_000
LARGEST = 2**50

_SIZE = re.compile(
    r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?P<unit>[kmgt]?i?b?)", re.IGNORECASE
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_FACTORS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
#: Bits of a number that is shown no more; Python refuses to write some 14,000.
_LONG = 10_000
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


def shown(raw: Any) -> str:
    """Return *raw* for an error: short, whatever it is."""
    # Python 3.14's Repr describes such a number by its address.
    if isinstance(raw, int) and raw.bit_length() > _LONG:
        return "a number of thousands of digits"
    try:
        return _SHORT.repr(raw)
    except (ValueError, RecursionError):
        return "a number of thousands of digits"


def text(raw: Any) -> str:
    """Return *raw* if it is text that is not empty."""
    value = optional_path(raw)
    if not value:
        raise ValueError("it is empty; give a value or leave the setting out")
    return value


def optional_path(raw: Any) -> str:
    """Return *raw* if it is text; an empty text stands for "at the root"."""
    if not isinstance(raw, str):
        raise ValueError(f"{shown(raw)} is not text; put it in quotes")
    if any(ord(one) < 32 or ord(one) == 127 for one in raw.strip()):  # noqa: PLR2004 - ASCII
        raise ValueError(f"{shown(raw)} has a control character; remove it")
    return raw.strip()


def choice(
    *names: str, noun: str = "one of its values", aliases: Mapping[str, str] = MappingProxyType({})
) -> Parser:
    """
    Return the parser that takes one of *names*.

    Args:
        noun: What the error calls them.

        aliases: Former names that are still taken, and what each is now.
    """
    listed = " or ".join(repr(name) for name in names)

    def parse(raw: Any) -> str:
        if isinstance(raw, str):
            raw = aliases.get(raw, raw)
        if raw not in names:
            raise ValueError(f"{shown(raw)} is not {noun}; use {listed}")
        return str(raw)

    return parse


def integer(minimum: int, maximum: int = MOST) -> Parser:
    """Return the parser that takes a whole number from *minimum* to *maximum*."""

    def parse(raw: Any) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise ValueError(f"{shown(raw)} is not a whole number")
        if isinstance(raw, str):
            if _INTEGER.fullmatch(raw.strip()) is None:
                raise ValueError(f"{shown(raw)} is not a whole number")
            raw = int(raw)
        if not minimum <= raw <= maximum:
            span = f"{minimum}<=x<={maximum}"
            if maximum == MOST:
                span = f"x>={minimum}" if raw < minimum else f"x<={maximum}"
            raise ValueError(f"{shown(raw)} is not in the range {span}")
        return int(raw)

    return parse


def int_or(word: str, minimum: int, maximum: int = MOST) -> Parser:
    """Return the parser that takes a whole number or *word*."""
    number = integer(minimum, maximum)

    def parse(raw: Any) -> int | str:
        if raw == word:
            return word
        try:
            return int(number(raw))
        except ValueError as error:
            raise ValueError(f"{error}; use a number or '{word}'") from None

    return parse


def seconds(minimum: float = 0, maximum: float = LONGEST) -> Parser:
    """Return the parser that takes a number of seconds from *minimum* to *maximum*."""

    def parse(raw: Any) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise ValueError(f"{shown(raw)} is not a number of seconds")
        try:
            number = float(raw)
        except ValueError:
            raise ValueError(f"{shown(raw)} is not a number of seconds") from None
        except OverflowError:
            number = float("inf")
        if not minimum <= number <= maximum:
            span = f"x<={maximum:.0f}" if number > maximum else f"x>={minimum:g}"
            raise ValueError(f"{number:g} is not in the range {span}")
        return number

    return parse


def zero_or_seconds(minimum: float, maximum: float = LONGEST) -> Parser:
    """Return the parser that takes 0, or a number of seconds from *minimum* to *maximum*."""
    some = seconds(0, maximum)

    def parse(raw: Any) -> float:
        number = float(some(raw))
        if 0 < number < minimum:
            raise ValueError(f"{number:g} is below {minimum:g}, and not 0")
        return number

    return parse


def size(minimum: int, maximum: int = LARGEST) -> Parser:
    """Return the parser that takes bytes: a number, or text such as 512MB or 4GiB."""

    def parse(raw: Any) -> int:
        refusal = f"{shown(raw)} is not a size; write for example '512MB' or '4GiB'"
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise ValueError(refusal)
        if isinstance(raw, int):
            number = raw
        else:
            match = _SIZE.fullmatch(raw.strip())
            if match is None:
                raise ValueError(refusal)
            unit = match["unit"].lower().removesuffix("b")
            factor = _BINARY_FACTORS.get(unit) or _FACTORS.get(unit)
            if factor is None:
                raise ValueError(refusal)
            number = int(float(match["number"]) * factor)
        if number < minimum:
            raise ValueError(f"{shown(number)} bytes are too few; give at least {minimum}")
        if number > maximum:
            raise ValueError(f"{shown(number)} bytes are too many; give at most {maximum}")
        return number

    return parse


def boolean(raw: Any) -> bool:
    """Return a truth value; text as click reads it (true/false, yes/no, on/off, 1/0)."""
    if isinstance(raw, bool):
        return raw
    word = raw.strip().lower() if isinstance(raw, str) else raw
    if word in ("1", "true", "yes", "on", "t", "y"):
        return True
    if word in ("0", "false", "no", "off", "f", "n"):
        return False
    raise ValueError(f"{shown(raw)} is not true or false")


def name_list(raw: Any) -> tuple[str, ...]:
    """Return names: a list, or text with commas between them; at least one, each once."""
    items = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"{shown(raw)} is not a list of names")
    names = tuple(item.strip() for item in items)
    if not names or not all(names):
        raise ValueError("it has an empty name; give at least one name and no stray comma")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice[:5])} is named twice; name each once")
    if not all(name.isprintable() for name in names):
        raise ValueError("a name has a control character; remove it")
    return names


def queues(raw: Any) -> tuple[str, ...]:
    """Return names of queues; `all` among them is every queue of the project."""
    names = name_list(raw)
    for name in names:
        if set(name) & set("*?["):
            raise ValueError(
                f"{name!r} is not a queue's name; write '{ALL_QUEUES}' for every queue of the "
                "project"
            )
        if "," in name:
            raise ValueError(f"{name!r} is not a queue's name; write each name separately")
    return names


def arguments(raw: Any) -> tuple[str, ...]:
    """Return a list of command-line arguments; text is split at white space."""
    items = raw.split() if isinstance(raw, str) else raw
    if not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"{shown(raw)} is not a list of arguments")
    if any("\0" in item for item in items):
        raise ValueError("an argument has a NUL in it; remove it")
    return tuple(items)


def worker_name(raw: str) -> str:
    """Return *raw* if it can be part of a node name, a file name and a variable's name."""
    if _NAME.fullmatch(raw) is None:
        raise ValueError(
            f"{shown(raw)} is not a worker's name; use up to 63 of a-z, 0-9, - and _ (as in "
            "'bulk-2')"
        )
    return raw


def function(raw: Any) -> str:
    """Return *raw* if it can name a function: ``package.module:function``."""
    value = text(raw)
    module, colon, name = value.partition(":")
    if not (
        colon and name.isidentifier() and all(part.isidentifier() for part in module.split("."))
    ):
        raise ValueError(
            f"{shown(raw)} is no function; write module:function, as in nautobot:setup"
        )
    return value


def url(raw: Any) -> str:
    """
    Return *raw* if it can be a URL (or several, with semicolons between them).

    What has no `://` is a name that Celery knows, such as django-db.
    """
    value = text(raw)
    for part in value.split(";"):
        if "://" not in part:
            continue
        try:
            urlsplit(part).port  # noqa: B018 - a property that raises
        except ValueError:
            # Its own message has parts of the password in it.
            raise ValueError(
                "its port or its host is none; write / : @ # ? of a password as %2F %3A %40 %23 %3F"
            ) from None
    wrong = urls.fault(value)
    if wrong:
        raise ValueError(wrong)
    return value


def user_and_password(raw: Any) -> str:
    """Return *raw* if it has the form user:password."""
    value = text(raw)
    user, colon, password = value.partition(":")
    if not (user and colon and password):
        raise ValueError("must be user:password")
    return value
